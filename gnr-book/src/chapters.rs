//! The Rust blocks of the chapters, compiled and run as doctests. A test finds chapters that are missing here.

/// Makes one item a chapter, so that a failure names the chapter.
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
