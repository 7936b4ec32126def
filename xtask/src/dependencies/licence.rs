//! Licence expressions (SPDX): `(MIT OR Apache-2.0) AND Unicode-3.0`, and `MIT/Apache-2.0` as older crates have it.

use anyhow::{Context, Result};
use spdx::{Expression, ParseMode};

/// Whether the licences of a list suffice for an expression.
///
/// # Errors
/// Text that is no expression.
pub(super) fn is_allowed(expression: &str, allowed: &[String]) -> Result<bool> {
    let parsed = Expression::parse_mode(expression, ParseMode::LAX).with_context(|| {
        format!("`{expression}`: expected a licence expression such as `MIT OR Apache-2.0`")
    })?;
    Ok(parsed.evaluate(|needed| allowed.contains(&needed.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_need_what_spdx_says() {
        let allowed = ["MIT", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
        for (expression, answer) in [
            ("MIT", true),
            ("GPL-3.0 OR MIT", true),
            ("GPL-3.0-only/MIT", true),
            ("GPL-3.0-only AND MIT", false),
            ("(MIT OR GPL-3.0-only) AND GPL-3.0-only", false),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("Apache-2.0", false),
        ] {
            assert_eq!(is_allowed(expression, &allowed).unwrap(), answer, "{expression}");
        }
        let error = is_allowed("MIT OR", &allowed).unwrap_err().to_string();
        assert!(error.contains("expected a licence expression"), "{error}");
    }
}
