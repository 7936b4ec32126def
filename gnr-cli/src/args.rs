//! The command line: one command a variant, whose arguments stand beside the command itself.

use clap::{Parser, Subcommand};

use crate::{curvature::args as curvature, geometry::args as geometry, train, weights};

/// Trains image classifiers to flat minima: gradient norm regularisation (GNR), SAM, exact Hessian-vector products.
#[derive(Parser)]
#[command(name = "gnr", version, long_version = crate::VERSION, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "Examples:\n  \
    gnr compare                                   SGD, SAM, GNR and both on digits with wrong labels: one minute\n  \
    gnr train                                     the same digits with SGD + GNR alone\n  \
    gnr train digits --set method.gnr=false       clean digits without GNR\n  \
    gnr train cifar10-resnet20-sgd-gnr --set data.dir=~/cifar-10-batches-bin\n  \
    gnr resume runs/digits-1\n  \
    gnr eval runs/digits-1/checkpoints/best.safetensors\n  \
    gnr spectrum runs/digits-1 --top 5            largest Hessian eigenvalues over the training images")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Train one recipe with several methods and say which is better, how surely, and at what cost
    Compare(crate::compare::Arguments),
    /// Train by a recipe
    Train(train::Train),
    /// Continue a run that was stopped
    Resume(train::Resume),
    /// Search over recipe keys on held-out images
    Sweep(crate::sweep::Arguments),
    /// Train what a table or figure of the paper needs, and report it
    Reproduce(crate::reproduce::Arguments),
    #[cfg(feature = "watch")]
    /// Watch runs in the terminal while they train, or look at finished ones
    Watch(crate::dashboard::Arguments),
    /// Write the page of a run, or of several runs over each other
    Report(crate::report::Arguments),
    /// Evaluate a checkpoint or published weights
    Eval(crate::eval::Arguments),
    /// List the tensors of a weight file, or compare them with a model
    Weights(weights::Weights),
    /// Turn a weight file into safetensors
    Convert(weights::Convert),
    /// Time one step of each method on random data
    Bench(crate::bench::Arguments),
    /// Eigenvalues of the Hessian: top, bottom, dominant or both ends
    Spectrum(curvature::Spectrum),
    /// Trace of the Hessian with a confidence interval
    Trace(curvature::Trace),
    /// Density of the Hessian's eigenvalues
    Density(curvature::Density),
    /// The loss along a line or over a plane through a checkpoint
    Landscape(geometry::Landscape),
    /// Local minima and maxima of the loss along random directions
    Minima(geometry::Minima),
    /// R_SAM and R_GNR of a checkpoint within a radius
    Sharpness(geometry::Sharpness),
    /// Draw a figure from its JSON description
    Plot(geometry::Plot),
    #[command(hide = true)]
    Generate(crate::generate::Arguments),
    /// List the models
    Models,
    /// List what this program and this machine can compute with
    Devices(crate::device::Arguments),
    /// List the optimisers and schedules with their equations, keys, costs and references, or describe one
    Methods(crate::methods::Arguments),
    /// List the data sets, describe one, fetch, verify
    Data(crate::data::Arguments),
}

/// Parses the shape of an image: channels, height and width, as in `3,32,32`.
pub(crate) fn shape(text: &str) -> Result<[usize; 3], String> {
    let numbers = text.split(',').map(|number| positive(number.trim())).collect::<Result<Vec<_>, _>>();
    numbers.ok().and_then(|numbers| numbers.try_into().ok()).ok_or("expected C,H,W, as in 3,32,32".into())
}

pub(crate) fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".into()),
        Ok(value) => Ok(value),
        Err(error) => Err(format!("{error}")),
    }
}
