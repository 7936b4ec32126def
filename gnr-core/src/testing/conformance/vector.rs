//! The conformance suite of vectors.

use crate::{Elementwise, Error, Map, random::SplitMix64};

/// Checks that a type is a [`Vector`](crate::Vector) and [`Elementwise`].
///
/// `make` builds a vector from host values, `host` reads it back. `epsilon` is the machine epsilon of the storage
/// (`f32::EPSILON`, `f64::EPSILON`). Every element may be off by 4 `epsilon` times the magnitudes involved, a dot
/// product of 100,003 elements by 8 `epsilon` times Σ|xᵢyᵢ|: naive f32 accumulation fails.
///
/// # Panics
/// When the type does not conform.
pub fn check_vector<V: Elementwise>(make: impl Fn(&[f64]) -> V, host: impl Fn(&V) -> Vec<f64>, epsilon: f64) {
    let run = || -> crate::Result<()> {
        space(&make, &host, epsilon)?;
        elementwise(&make, &host, epsilon)?;
        non_finite(&make, &host)?;
        long_dot(&make, &host, epsilon)
    };
    if let Err(error) = run() {
        panic!("an operation on equal dimensions failed: {error}");
    }
    mismatch(&make);
}

fn close(found: &[f64], expected: impl Iterator<Item = (f64, f64)>, epsilon: f64, what: &str) {
    for (i, (found, (expected, magnitude))) in found.iter().zip(expected).enumerate() {
        let allowed = 4.0 * epsilon * magnitude.max(f64::MIN_POSITIVE);
        assert!(
            (found - expected).abs() <= allowed,
            "{what}[{i}]: {found}, expected {expected} ± {allowed:e}"
        );
    }
}

fn space<V: Elementwise>(
    make: &impl Fn(&[f64]) -> V,
    host: &impl Fn(&V) -> Vec<f64>,
    epsilon: f64,
) -> crate::Result<()> {
    for n in [1, 7, 8, 9, 1025] {
        let mut random = SplitMix64::new(n as u64);
        let (x, y) = (make(&random.normals(n)), make(&random.normals(n)));
        let (hx, hy) = (host(&x), host(&y)); // as stored: rounding on the way in is not the point
        assert_eq!(x.dim(), n, "dim");

        let mut z = y.clone();
        z.clone_from(&x);
        assert_eq!(host(&z), hx, "a clone must have the same bits");
        z.scale(2.0)?;
        assert_eq!(host(&x), hx, "a clone must not share storage");
        assert_eq!(host(&z), hx.iter().map(|x| 2.0 * x).collect::<Vec<_>>(), "scaling by 2 is exact");

        let mut z = y.clone();
        z.scale(-0.3)?;
        close(&host(&z), hy.iter().map(|y| (-0.3 * y, y.abs())), epsilon, "scale");

        assert_eq!(x.dots(&[&x, &y])?, [x.dot(&x)?, x.dot(&y)?], "several dot products are the single ones");
        let mut z = y.clone();
        z.axpys(&[1.7, -0.4], &[&x, &y])?;
        let expected = hx.iter().zip(&hy).map(|(x, y)| (0.6 * y + 1.7 * x, 1.4 * y.abs() + 1.7 * x.abs()));
        close(&host(&z), expected, epsilon, "axpys");
        assert!(z.axpys(&[1.0], &[&x, &y]).is_err(), "one factor for two vectors");

        let mut z = y.clone();
        z.axpy(1.7, &x)?;
        let expected = hx.iter().zip(&hy).map(|(x, y)| (y + 1.7 * x, y.abs() + 1.7 * x.abs()));
        close(&host(&z), expected, epsilon, "axpy");
        // Vectors that share their memory with others, or do not: the others must keep their values.
        for (y_alone, x_alone) in [(false, false), (false, true), (true, false), (true, true)] {
            let alone = |v: &V, alone: bool, values: &[f64]| if alone { make(values) } else { v.clone() };
            let (y_here, mut sum) = (alone(&y, y_alone, &hy), alone(&x, x_alone, &hx));
            sum.aypx(1.7, &y_here)?;
            assert_eq!(host(&sum), host(&z), "aypx is axpy on the other");
            assert!(host(&y) == hy && host(&x) == hx, "aypx must leave others alone");
        }
        z.clone_from(&x);
        z.axpy(-1.0, &x)?;
        assert!(host(&z).iter().all(|&z| z == 0.0), "x − x must be zero");

        let exact: f64 = hx.iter().zip(&hy).map(|(x, y)| x * y).sum();
        let magnitude: f64 = hx.iter().zip(&hy).map(|(x, y)| (x * y).abs()).sum();
        close(&[x.dot(&y)?], [(exact, 2.0 * magnitude)].into_iter(), epsilon, "dot");
        assert_eq!(x.dot(&y)?, y.dot(&x)?, "dot must be symmetric");
        assert_eq!(x.dot(&y)?, x.dot(&y)?, "dot must repeat bit for bit");
        assert_eq!(x.norm()?, x.dot(&x)?.sqrt(), "norm");
    }
    Ok(())
}

fn elementwise<V: Elementwise>(
    make: &impl Fn(&[f64]) -> V,
    host: &impl Fn(&V) -> Vec<f64>,
    epsilon: f64,
) -> crate::Result<()> {
    let mut random = SplitMix64::new(5);
    let n = 37;
    let (s, x) = (make(&random.normals(n)), make(&random.normals(n)));
    let y = make(&random.normals(n).iter().map(|y| y * y).collect::<Vec<_>>());
    let (hs, hx, hy) = (host(&s), host(&x), host(&y));
    let rows = || hs.iter().zip(&hx).zip(&hy);

    let maps = [
        Map::Abs,
        Map::Sign,
        Map::Sqrt,
        Map::Recip,
        Map::Square,
        Map::Power(0.25),
        Map::Power(-1.5),
        Map::Add(-0.75),
        Map::Clamp(-0.5, 0.25),
    ];
    for f in maps {
        // Roots and powers need positive numbers.
        let of = if matches!(f, Map::Sqrt | Map::Power(_)) { &y } else { &s };
        let mut z = of.clone();
        z.map(f)?;
        // The error of x, times the derivative there, is covered by |x| beside |f(x)|; powers amplify it by their
        // exponent.
        let expected = host(of)
            .into_iter()
            .map(|x| (f.at(x), 2.0 * f.at(x).abs() + if let Map::Add(_) = f { x.abs() } else { 0.0 }));
        close(&host(&z), expected, epsilon, &format!("{f:?}"));
    }
    let special = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0];
    let stored = |f: Map| -> crate::Result<Vec<f64>> {
        let mut z = make(&special);
        z.map(f)?;
        Ok(host(&z))
    };
    let same = |found: Vec<f64>, expected: [f64; 5], what: &str| {
        let equal = |(a, b): (&f64, &f64)| a == b || a.is_nan() && b.is_nan();
        assert!(
            found.iter().zip(&expected).all(equal),
            "{what} of {special:?}: {found:?}, expected {expected:?}"
        );
    };
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    same(stored(Map::Sign)?, [nan, 1.0, -1.0, 0.0, 0.0], "Sign");
    same(stored(Map::Abs)?, [nan, inf, inf, 0.0, 0.0], "Abs");
    same(stored(Map::Clamp(-2.0, 3.0))?, [nan, 3.0, -2.0, 0.0, 0.0], "Clamp");
    same(stored(Map::Recip)?, [nan, 0.0, 0.0, inf, -inf], "Recip");
    for (z, x) in [
        ([nan, 1.0, 1.0, -inf, 2.0], [0.0, nan, inf, 0.0, -1.0]),
        ([0.0, nan, inf, 0.0, -1.0], [nan, 1.0, 1.0, -inf, 2.0]),
    ] {
        let (mut z, x) = (make(&z), make(&x));
        z.maximum(&x)?;
        let found = host(&z);
        let right = found[0].is_nan() && found[1].is_nan() && found[2..] == [inf, 0.0, 2.0];
        assert!(right, "maximum with NaN and infinities: {found:?}");
    }

    let mut z = s.clone();
    z.multiply(&x)?;
    close(&host(&z), hs.iter().zip(&hx).map(|(s, x)| (s * x, (s * x).abs())), epsilon, "multiply");
    let mut z = s.clone();
    z.maximum(&x)?;
    assert_eq!(host(&z), hs.iter().zip(&hx).map(|(s, x)| s.max(*x)).collect::<Vec<_>>(), "maximum");
    assert!(host(&s) == hs && host(&x) == hx && host(&y) == hy, "a clone must not share storage");

    let mut z = s.clone();
    z.addcmul(-0.6, &x, &y)?;
    let expected = rows().map(|((s, x), y)| (s - 0.6 * x * y, s.abs() + (x * y).abs()));
    close(&host(&z), expected, epsilon, "addcmul");

    let mut z = s.clone();
    z.addcdiv_sqrt(-0.6, &x, 1.5, &y, 0.1)?;
    let expected = rows().map(|((s, x), y)| {
        let change = x / ((1.5 * y).sqrt() + 0.1);
        (s - 0.6 * change, s.abs() + change.abs())
    });
    close(&host(&z), expected, epsilon, "addcdiv_sqrt");
    Ok(())
}

fn non_finite<V: Elementwise>(
    make: &impl Fn(&[f64]) -> V,
    host: &impl Fn(&V) -> Vec<f64>,
) -> crate::Result<()> {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut z = make(&[1.0, bad, -2.0]);
        match z.norm() {
            Err(Error::NonFinite { .. }) => {}
            other => panic!("the norm of a vector with a {bad} must be Error::NonFinite, got {other:?}"),
        }
        assert!(!z.dot(&z)?.is_finite(), "dot must pass a {bad} on");
        z.scale(0.0)?;
        assert!(host(&z).iter().all(|&z| z == 0.0), "scaling by 0 must clear a {bad}");
    }
    Ok(())
}

/// Checks a sum of 100,003 positive terms, whose rounding errors add up to far more than 8 ε in naive single
/// precision.
fn long_dot<V: Elementwise>(
    make: &impl Fn(&[f64]) -> V,
    host: &impl Fn(&V) -> Vec<f64>,
    epsilon: f64,
) -> crate::Result<()> {
    let mut random = SplitMix64::new(11);
    let x = make(&(0..100_003).map(|_| 0.5 + random.uniform()).collect::<Vec<_>>());
    let (mut sum, mut lost) = (0.0, 0.0); // Kahan
    for x in host(&x) {
        let term = x * x - lost;
        let next: f64 = sum + term;
        (lost, sum) = ((next - sum) - term, next);
    }
    let found = x.dot(&x)?;
    assert!((found - sum).abs() <= 8.0 * epsilon * sum, "dot of 100,003 elements: {found}, expected {sum}");
    Ok(())
}

fn mismatch<V: Elementwise>(make: &impl Fn(&[f64]) -> V) {
    let (short, long) = (make(&[1.0, 2.0]), make(&[1.0, 2.0, 3.0]));
    let results = [
        ("axpy", long.clone().axpy(1.0, &short)),
        ("aypx", long.clone().aypx(1.0, &short)),
        ("dot", long.dot(&short).map(|_| ())),
        ("multiply", long.clone().multiply(&short)),
        ("maximum", long.clone().maximum(&short)),
        ("addcmul", long.clone().addcmul(1.0, &short, &long)),
        ("addcdiv_sqrt", long.clone().addcdiv_sqrt(1.0, &long, 1.0, &short, 1.0)),
    ];
    for (operation, result) in results {
        let refused = matches!(result, Err(Error::DimensionMismatch { .. }));
        assert!(
            refused,
            "{operation} of dimensions 3 and 2 must be Error::DimensionMismatch, got {result:?}"
        );
    }
}
