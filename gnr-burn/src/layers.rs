//! Layers.

use burn_backend::backend::AutodiffBackend;
use gnr_nn::{Attention, Convolution, Linear, Loss, Normalisation, Pooling};

use crate::tensor::Burn;

impl<B: AutodiffBackend> Linear for Burn<B> {}
impl<B: AutodiffBackend> Convolution for Burn<B> {}
impl<B: AutodiffBackend> Pooling for Burn<B> {}
impl<B: AutodiffBackend> Normalisation for Burn<B> {}
impl<B: AutodiffBackend> Attention for Burn<B> {}
impl<B: AutodiffBackend> Loss for Burn<B> {}
