//! [`macro@each_precision`]: an implementation written once, compiled for f32 and for f64.

use proc_macro::{Delimiter, Group, TokenStream, TokenTree};

/// Repeats an item for `E = f32` and for `E = f64`.
///
/// A generic implementation is compiled again in every crate that uses it. One that this attribute repeats is compiled
/// in the crate where it stands, because it is no longer generic: `E` is an alias.
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

/// `const _: () = { type E = precision; item };`
fn within(precision: &str, item: TokenStream) -> TokenStream {
    // The text is ours and holds no input, so that it is always Rust.
    let parse = |text: &str| text.parse::<TokenStream>().unwrap_or_default();
    let mut inside = parse(&format!("type E = {precision};"));
    inside.extend(item);
    let mut block = parse("const _: () =");
    block.extend([TokenTree::from(Group::new(Delimiter::Brace, inside))]);
    block.extend(parse(";"));
    block
}
