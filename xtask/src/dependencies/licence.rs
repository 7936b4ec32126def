//! Licence expressions (SPDX): `(MIT OR Apache-2.0) AND Unicode-3.0`, and `MIT/Apache-2.0` as older crates have it.

use anyhow::{Result, bail};

/// Whether the licences of a list suffice for an expression. `AND` binds more tightly than `OR`.
///
/// # Errors
/// Text that is no expression.
pub(super) fn is_allowed(expression: &str, allowed: &[String]) -> Result<bool> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut reader = Reader { words: spaced.split_whitespace().collect(), next: 0, allowed };
    let answer = reader.any();
    match answer {
        Some(answer) if reader.next == reader.words.len() => Ok(answer),
        _ => bail!("`{expression}`: expected a licence expression such as `MIT OR Apache-2.0`"),
    }
}

struct Reader<'a> {
    words: Vec<&'a str>,
    next: usize,
    allowed: &'a [String],
}

/// Each method reads as much as it can and is `None` where nothing fits.
impl Reader<'_> {
    fn take(&mut self, word: &str) -> bool {
        let fits = self.words.get(self.next) == Some(&word);
        self.next += usize::from(fits);
        fits
    }

    fn any(&mut self) -> Option<bool> {
        let mut answer = self.all()?;
        while self.take("OR") {
            answer |= self.all()?;
        }
        Some(answer)
    }

    fn all(&mut self) -> Option<bool> {
        let mut answer = self.one()?;
        while self.take("AND") {
            answer &= self.one()?;
        }
        Some(answer)
    }

    fn one(&mut self) -> Option<bool> {
        if self.take("(") {
            return self.any().filter(|_| self.take(")"));
        }
        let mut name = self.name()?;
        if self.take("WITH") {
            name = format!("{name} WITH {}", self.name()?);
        }
        Some(self.allowed.contains(&name))
    }

    fn name(&mut self) -> Option<String> {
        let word = *self.words.get(self.next)?;
        let is_name = !["AND", "OR", "WITH", "(", ")"].contains(&word);
        self.next += usize::from(is_name);
        is_name.then(|| word.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_read_as_spdx_says() {
        let allowed = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
        for (expression, answer) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("GPL-3.0/MIT", true),
            ("GPL-3.0 AND MIT", false),
            ("ISC AND MIT", true),
            // AND first: `GPL AND ISC`, or MIT.
            ("GPL-3.0 AND ISC OR MIT", true),
            ("MIT OR ISC AND GPL-3.0", true),
            ("(MIT OR GPL-3.0) AND GPL-3.0", false),
            ("(MIT OR GPL-3.0) AND ISC", true),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("Apache-2.0", false),
            ("MIT WITH LLVM-exception", false),
        ] {
            assert_eq!(is_allowed(expression, &allowed).unwrap(), answer, "{expression}");
        }
    }

    #[test]
    fn what_is_no_expression_is_an_error() {
        for bad in ["", "MIT OR", "AND MIT", "MIT ISC", "(MIT", "MIT)", "MIT WITH", "()"] {
            let error = is_allowed(bad, &["MIT".to_owned()]).unwrap_err().to_string();
            assert!(error.contains("expected a licence expression"), "{bad}: {error}");
        }
    }
}
