//! Times of the CPU kernels on the shapes of CIFAR ResNets, a ViT and an MLP.
//!
//! Run with `cargo bench -p gnr-kernels --bench kernels [-- FILTER]`. Names are `operation/network-stage`. The
//! throughput of convolutions is in multiply-adds of the definition, whatever the algorithm; that of other kernels is
//! in elements. `RAYON_NUM_THREADS` sets the number of threads.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gnr_kernels::Accum;
use gnr_kernels::conv::{Geometry, backward_input, backward_weight, forward};
use gnr_kernels::dense::Layer;
use gnr_kernels::gemm::Onto;
use gnr_kernels::norm::{self, Affine, Last, Maps, Stats};
use gnr_kernels::{elementwise, reduce};

/// A convolution: (name, batch, channels, size, output channels, kernel, stride, padding, groups).
type Shape = (&'static str, usize, usize, usize, usize, usize, usize, usize, usize);

const SHAPES: &[Shape] = &[
    ("resnet20-stem", 128, 3, 32, 16, 3, 1, 1, 1),
    ("resnet20-stage1", 128, 16, 32, 16, 3, 1, 1, 1),
    ("resnet20-transition2", 128, 16, 32, 32, 3, 2, 1, 1),
    ("resnet20-projection2", 128, 16, 32, 32, 1, 2, 0, 1),
    ("resnet20-stage2", 128, 32, 16, 32, 3, 1, 1, 1),
    ("resnet20-transition3", 128, 32, 16, 64, 3, 2, 1, 1),
    ("resnet20-stage3", 128, 64, 8, 64, 3, 1, 1, 1),
    ("resnet18-stem", 32, 3, 32, 64, 3, 1, 1, 1),
    ("resnet18-stage1", 32, 64, 32, 64, 3, 1, 1, 1),
    ("resnet18-transition2", 32, 64, 32, 128, 3, 2, 1, 1),
    ("resnet18-stage2", 32, 128, 16, 128, 3, 1, 1, 1),
    ("resnet18-transition3", 32, 128, 16, 256, 3, 2, 1, 1),
    ("resnet18-stage3", 32, 256, 8, 256, 3, 1, 1, 1),
    ("resnet18-transition4", 32, 256, 8, 512, 3, 2, 1, 1),
    ("resnet18-projection4", 32, 256, 8, 512, 1, 2, 0, 1),
    ("resnet18-stage4", 32, 512, 4, 512, 3, 1, 1, 1),
    ("resnext-grouped", 32, 64, 32, 64, 3, 1, 1, 8),
    ("efficientnet-depthwise", 16, 96, 28, 96, 5, 1, 2, 96),
];

fn noise(len: usize) -> Vec<f32> {
    (0..len as u64).map(|i| (i.wrapping_mul(2_654_435_761) % 1000) as f32 / 500.0 - 1.0).collect()
}

fn convolutions(c: &mut Criterion) {
    for operation in ["forward", "backward_input", "backward_weight"] {
        let mut group = c.benchmark_group(operation);
        group.sample_size(20);
        for &(name, n, channels, size, outputs, k, stride, padding, groups) in SHAPES {
            let (input, weight) = ([n, channels, size, size], [outputs, channels / groups, k, k]);
            let Ok(g) = Geometry::new(input, weight, stride, padding, groups) else { continue };
            let (x, w, gy) = (noise(g.input_len()), noise(g.weight_len()), noise(g.output_len()));
            let (mut y, mut gx, mut gw) = (gy.clone(), x.clone(), w.clone());
            group.throughput(Throughput::Elements((g.output_len() * channels / groups * k * k) as u64));
            group.bench_function(BenchmarkId::from_parameter(name), |b| {
                b.iter(|| match operation {
                    "forward" => forward(&g, &[((&x).into(), &w)], &mut y),
                    "backward_input" => backward_input(&g, &[((&gy).into(), &w)], &mut gx, Accum::Replace),
                    _ => backward_weight(&g, &[((&gy).into(), (&x).into())], &mut gw, Accum::Replace),
                });
            });
        }
    }
}

/// Layers as (name, rows, inputs, outputs): those of ViT-Tiny at batch 32 with 65 tokens, and the MLP's first.
const LAYERS: &[(&str, usize, usize, usize)] = &[
    ("vit-qkv", 2080, 192, 576),
    ("vit-projection", 2080, 192, 192),
    ("vit-hidden", 2080, 192, 768),
    ("vit-back", 2080, 768, 192),
    ("mlp-first", 128, 784, 256),
];

fn layers(c: &mut Criterion) {
    for operation in ["layer_forward", "layer_to_input", "layer_to_weight"] {
        let mut group = c.benchmark_group(operation);
        group.sample_size(20);
        for &(name, rows, inputs, outputs) in LAYERS {
            let layer = Layer { rows, inputs, outputs };
            let (x, w, g) = (noise(rows * inputs), noise(outputs * inputs), noise(rows * outputs));
            let (mut y, mut gx, mut gw) = (g.clone(), x.clone(), w.clone());
            group.throughput(Throughput::Elements((rows * inputs * outputs) as u64));
            group.bench_function(BenchmarkId::from_parameter(name), |b| {
                b.iter(|| match operation {
                    "layer_forward" => layer.forward(&[((&x).into(), &w)], &mut y, Onto::Nothing),
                    "layer_to_input" => layer.to_input(&[((&g).into(), &w)], &mut gx, Accum::Replace),
                    _ => layer.to_weight(&[((&g).into(), (&x).into())], &mut gw, Accum::Replace),
                });
            });
        }
    }
}

fn memory_bound(c: &mut Criterion) {
    let maps = Maps { n: 128, c: 16, hw: 1024 };
    let (x, gamma, beta) = (noise(maps.size()), noise(maps.c), noise(maps.c));
    let mut y = x.clone();
    let mut group = c.benchmark_group("memory_bound");
    group.throughput(Throughput::Elements(maps.size() as u64));
    group.bench_function("batch_norm_statistics", |b| b.iter(|| Stats::of_batch(maps, &x, 1e-5)));
    let stats = Stats::of_batch(maps, &x, 1e-5);
    group.bench_function("batch_norm_relu", |b| {
        let affine = Affine::new(&stats, &gamma, &beta);
        b.iter(|| norm::apply(maps, &x, &affine, None, Last::Clip(f32::INFINITY), &mut y));
    });
    let mut a = noise(maps.size());
    group.bench_function("batch_norm_backward", |b| {
        b.iter(|| {
            let sums = norm::backward_sums(maps, &mut a, &x, &stats, None);
            norm::backward_input(maps, &a, &x, &stats, &gamma, &sums, &mut y, Accum::Replace);
        });
    });
    group.bench_function("axpy", |b| b.iter(|| elementwise::axpy(&mut y, 1e-6, &x)));
    group.bench_function("dot", |b| b.iter(|| reduce::dot(&y, &x)));
    group.finish();
}

criterion_group!(benches, convolutions, layers, memory_bound);
criterion_main!(benches);
