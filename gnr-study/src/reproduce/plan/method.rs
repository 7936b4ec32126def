//! The methods that a table compares.

/// The kind of a Hessian-vector product. On nets with ReLU the two kinds are different quantities, so they are always
/// reported apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::reproduce) enum Product {
    Exact,
    FiniteDifference,
}

/// GNR and how often it acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::reproduce) struct Gnr {
    pub(in crate::reproduce) product: Product,
    /// The period of GNR in steps.
    pub(in crate::reproduce) every: u64,
}

/// The methods that are added to the base optimiser (SGD, or AdamW where the net asks for it).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::reproduce) struct Method {
    pub(in crate::reproduce) sam: bool,
    pub(in crate::reproduce) gnr: Option<Gnr>,
}

const EXACT: Option<Gnr> = Some(Gnr { product: Product::Exact, every: 1 });
const DIFFERENCE: Option<Gnr> = Some(Gnr { product: Product::FiniteDifference, every: 1 });

/// The methods of Tables 1 to 3, base methods before what is built on them.
pub(in crate::reproduce) const METHODS: [Method; 6] = [
    Method { sam: false, gnr: None },
    Method { sam: false, gnr: EXACT },
    Method { sam: false, gnr: DIFFERENCE },
    Method { sam: true, gnr: None },
    Method { sam: true, gnr: EXACT },
    Method { sam: true, gnr: DIFFERENCE },
];

/// The periods of GNR in Table 4, whose ratios of steps with GNR are 1 in 20, 1 in 10, ….
pub(in crate::reproduce) const RATIOS: [u64; 5] = [20, 10, 5, 2, 1];

/// The methods of Table 4: SGD and SAM, each without GNR and with it at every ratio.
pub(in crate::reproduce) fn ratios(products: &[Product]) -> Vec<Method> {
    let mut methods = Vec::new();
    for sam in [false, true] {
        methods.push(Method { sam, gnr: None });
        for &product in products {
            methods.extend(RATIOS.map(|every| Method { sam, gnr: Some(Gnr { product, every }) }));
        }
    }
    methods
}

impl Method {
    /// The name in names of runs: `sam+gnr-exact`, `sgd+gnr-fd-1in10`.
    pub(in crate::reproduce) fn slug(self, base: &str) -> String {
        let base = if self.sam { "sam".to_owned() } else { base.to_lowercase() };
        let Some(Gnr { product, every }) = self.gnr else { return base };
        let product = match product {
            Product::Exact => "exact",
            Product::FiniteDifference => "fd",
        };
        let ratio = if every == 1 { String::new() } else { format!("-1in{every}") };
        format!("{base}+gnr-{product}{ratio}")
    }

    /// The title for readers, over a base optimiser called `base`.
    pub(in crate::reproduce) fn title(self, base: &str) -> String {
        let base = if self.sam { "SAM" } else { base };
        let Some(Gnr { product, every }) = self.gnr else { return base.to_owned() };
        let product = match product {
            Product::Exact => "exact",
            Product::FiniteDifference => "finite diff.",
        };
        let ratio = if every == 1 { String::new() } else { format!(", 1/{every} of steps") };
        format!("{base} + GNR {product}{ratio}")
    }

    /// The method that this one adds to; its differences are taken from runs with the same seeds.
    pub(in crate::reproduce) fn base(self) -> Option<Self> {
        match self {
            Self { sam, gnr: Some(_) } => Some(Self { sam, gnr: None }),
            Self { sam: true, gnr: None } => Some(Self { sam: false, gnr: None }),
            Self { sam: false, gnr: None } => None,
        }
    }

    /// Cost of a step in gradients of the batch. An exact product costs two to three gradients (`cargo xtask bench`
    /// measures it), and GNR needs two products and one gradient more.
    pub(in crate::reproduce) fn gradients(self) -> f64 {
        let gnr = self.gnr.map_or(0.0, |Gnr { product, every }| {
            let extra = match product {
                Product::Exact => 5.0,
                Product::FiniteDifference => 3.0,
            };
            extra / every as f64
        });
        1.0 + gnr + if self.sam { 1.0 } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let sparse = Some(Gnr { product: Product::FiniteDifference, every: 10 });
        let method = Method { sam: false, gnr: sparse };
        assert_eq!(
            (method.slug("AdamW").as_str(), method.title("AdamW").as_str()),
            ("adamw+gnr-fd-1in10", "AdamW + GNR finite diff., 1/10 of steps")
        );
        assert_eq!(METHODS[4].title("SGD"), "SAM + GNR exact");
    }

    #[test]
    fn every_ratio_of_table4_stands_beside_its_base() {
        let methods = ratios(&[Product::Exact]);
        assert_eq!(methods.len(), 2 * (1 + RATIOS.len()));
        for method in &methods {
            assert!(method.base().is_none_or(|base| methods.contains(&base)));
        }
        // 1 + 5/20: the paper's "less than 25 %" at 1/20 and a half at 1/10.
        assert_eq!(methods[1].gradients(), 1.25);
    }
}
