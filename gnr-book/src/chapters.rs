//! The chapters whose Rust blocks are compiled and run as doctests. A test finds chapters that are missing here.

/// Makes an item for each chapter, whose name a failing doctest shows.
#[cfg(doctest)]
macro_rules! chapters {
    ($($name:ident: $path:literal),+ $(,)?) => {
        $(
            #[doc = include_str!(concat!("../../", $path))]
            pub struct $name;
        )+
    };
}

#[cfg(doctest)]
chapters! {
    Readme: "README.md",
    OwnModel: "docs/book/own-model.md",
    Gallery: "docs/book/gallery.md",
    Contributing: "CONTRIBUTING.md",
}
