//! Position embeddings of another grid of patches, by bicubic interpolation.

/// Resamples `[height·width, channels]` values (row-major over the grid) to another grid.
///
/// The kernel is Keys' cubic with a = −0.5 and half-pixel centres, widened by the scale where the grid shrinks
/// (antialiasing). Its weights are normalised at the borders. Results are those of PyTorch's
/// `interpolate(mode="bicubic", antialias=True)`, which timm uses for position embeddings.
pub(super) fn bicubic(values: &[f64], from: [usize; 2], to: [usize; 2], channels: usize) -> Vec<f64> {
    let [rows, columns] = from;
    // Rows first: each is `columns · channels` long.
    let tall = along(values, rows, to[0], columns * channels);
    (tall.chunks(columns * channels)).flat_map(|row| along(row, columns, to[1], channels)).collect()
}

/// Resamples `from` items of `width` values each to `to` items.
fn along(values: &[f64], from: usize, to: usize, width: usize) -> Vec<f64> {
    let scale = from as f64 / to as f64;
    // Width of the kernel in input items, relative to Keys'; wider where several items become one.
    let stretch = scale.max(1.0);
    let mut out = vec![0.0; to * width];
    for (i, out) in out.chunks_mut(width.max(1)).enumerate() {
        let centre = scale * (i as f64 + 0.5);
        let first = (centre - 2.0 * stretch + 0.5).max(0.0) as usize;
        let last = ((centre + 2.0 * stretch + 0.5) as usize).min(from);
        let weights: Vec<f64> = (first..last).map(|j| keys((j as f64 + 0.5 - centre) / stretch)).collect();
        let total: f64 = weights.iter().sum();
        for (item, weight) in values.chunks(width.max(1)).skip(first).zip(&weights) {
            for (out, value) in out.iter_mut().zip(item) {
                *out += weight / total * value;
            }
        }
    }
    out
}

/// Keys' cubic convolution kernel with a = −0.5.
fn keys(x: f64) -> f64 {
    let (a, x) = (-0.5, x.abs());
    if x < 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        a * (((x - 5.0) * x + 8.0) * x - 4.0)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: &[f64], expected: &[f64], tolerance: f64) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < tolerance, "{found}, expected {expected}");
        }
    }

    /// x = torch.arange(12.).double().sin().reshape(1, 1, 3, 4)
    /// torch.nn.functional.interpolate(x, size=…, mode="bicubic", antialias=True).flatten()
    #[test]
    fn as_pytorch_interpolates() {
        let x: Vec<f64> = (0..12).map(|i| f64::from(i).sin()).collect();
        // Expected values are printed to 12 digits.
        close(&bicubic(&x, [3, 4], [2, 3], 1), TORCH_2_3, 1e-11);
        close(&bicubic(&x, [3, 4], [5, 6], 1), TORCH_5_6, 1e-11);
    }

    const TORCH_2_3: &[f64] =
        &[-0.233338699067, 0.351584151806, 0.43663183766, 0.247956194175, -0.340188431757, -0.444660094648];
    const TORCH_5_6: &[f64] = &[
        -0.00342445573082,
        0.4888936333,
        1.04359142919,
        1.05895461077,
        0.525496161204,
        0.043185040372,
        -0.376015574555,
        -0.13291203384,
        0.221139066807,
        0.473348603158,
        0.467973046267,
        0.389148811715,
        -0.743505009824,
        -0.891889731267,
        -0.899666401034,
        -0.417737529902,
        0.256297892902,
        0.718591999832,
        0.375406713752,
        0.13218165988,
        -0.221875809129,
        -0.473690690978,
        -0.467763162354,
        -0.388560352329,
        1.16098281513,
        0.89968398279,
        0.357093636047,
        -0.408581629569,
        -0.924524768283,
        -1.16195648833,
    ];

    #[test]
    fn the_same_grid_is_left_alone_and_constants_stay() {
        let x: Vec<f64> = (0..18).map(|i| f64::from(i).cos()).collect();
        close(&bicubic(&x, [3, 3], [3, 3], 2), &x, 1e-15);
        close(&bicubic(&[2.5; 16], [4, 4], [7, 3], 1), &[2.5; 21], 1e-14);
    }
}
