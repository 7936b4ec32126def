//! [`macro@each_precision`]: an implementation that is written once and compiled for f32 and for f64.

use proc_macro::{Delimiter, Group, TokenStream, TokenTree};

/// Repeats an implementation for `E = f32` and for `E = f64`.
///
/// A generic implementation is compiled again in every crate that uses it. A repeated implementation is compiled in the
/// crate where it stands, because it is not generic: `E` is an alias of the precision.
///
/// Each copy stands in a block of its own, `const _`. An item with a name, such as a function, could not be used from
/// outside of that block. The attribute has no arguments, and ignores any.
///
/// ```
/// use gnr_macros::each_precision;
///
/// trait Half {
///     fn half(self) -> Self;
/// }
///
/// #[each_precision]
/// impl Half for E {
///     fn half(self) -> E {
///         self / 2.0
///     }
/// }
///
/// assert_eq!((1_f32.half(), 1_f64.half()), (0.5, 0.5));
/// ```
#[proc_macro_attribute]
pub fn each_precision(_arguments: TokenStream, item: TokenStream) -> TokenStream {
    ["f32", "f64"].into_iter().flat_map(|precision| within(precision, item.clone())).collect()
}

/// Wraps an item in a block with the alias: `const _: () = { type E = precision; item };`.
fn within(precision: &str, item: TokenStream) -> TokenStream {
    // Parsing cannot fail, because the text comes from this file and is Rust.
    let parse = |text: &str| text.parse::<TokenStream>().unwrap_or_default();
    let mut inside = parse(&format!("type E = {precision};"));
    inside.extend(item);
    let mut block = parse("const _: () =");
    block.extend([TokenTree::from(Group::new(Delimiter::Brace, inside))]);
    block.extend(parse(";"));
    block
}

/// The example in README.md, as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
