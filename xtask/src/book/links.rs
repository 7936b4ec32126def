//! Check of the links within a built site: each must lead to a file and an anchor that exist.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context, Result};

/// The result of a check.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) pages: usize,
    /// Links within the site.
    pub(super) links: usize,
    /// `page: link: what is missing`.
    pub(super) broken: Vec<String>,
}

/// The anchors and the links of a page.
#[derive(Debug, Default, PartialEq, Eq)]
struct Page {
    anchors: BTreeSet<String>,
    links: Vec<String>,
}

/// Checks every page below a folder.
///
/// # Errors
/// A file that cannot be read.
pub(super) fn check(site: &Path) -> Result<Report> {
    let mut files = BTreeSet::new();
    let mut pages = BTreeMap::new();
    let mut folders = vec![site.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(site).unwrap_or(&path).to_path_buf();
            if name.extension().is_some_and(|end| end == "html") {
                let text =
                    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
                pages.insert(name.clone(), read(&text));
            }
            files.insert(name);
        }
    }
    let mut report = Report { pages: pages.len(), links: 0, broken: Vec::new() };
    for (name, page) in &pages {
        for link in page.links.iter().filter(|link| within(link)) {
            report.links += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = resolved(name, path);
            let missing = if !files.contains(&target) {
                Some(format!("no file {}", target.display()))
            } else if !anchor.is_empty()
                && pages.get(&target).is_some_and(|page| !page.anchors.contains(anchor))
            {
                Some(format!("no `{anchor}` in {}", target.display()))
            } else {
                None
            };
            report.broken.extend(missing.map(|missing| format!("{}: {link}: {missing}", name.display())));
        }
    }
    Ok(report)
}

/// Whether a link leads to another place of the site.
fn within(link: &str) -> bool {
    let scheme = link.split(['/', '#', '?']).next().is_some_and(|first| first.contains(':'));
    // The page for missing addresses is served at any depth, so its links begin at the root. Every other page has the
    // same links, which are checked there.
    !scheme && !link.starts_with('/')
}

/// The file that `path` in the page `page` names.
fn resolved(page: &Path, path: &str) -> PathBuf {
    if path.is_empty() {
        return page.to_path_buf();
    }
    let mut target = page.parent().map(Path::to_path_buf).unwrap_or_default();
    for component in Path::new(path.split('?').next().unwrap_or_default()).components() {
        match component {
            Component::ParentDir => drop(target.pop()),
            Component::Normal(part) => target.push(part),
            _ => {}
        }
    }
    if path.ends_with('/') { target.join("index.html") } else { target }
}

/// The anchors and links of a page, as mdBook writes pages: attributes in double quotes.
fn read(html: &str) -> Page {
    let mut page = Page::default();
    for tag in tags(html) {
        for (name, value) in attributes(tag) {
            match name {
                "id" | "name" => drop(page.anchors.insert(decoded(value))),
                "href" | "src" => page.links.push(decoded(value)),
                _ => {}
            }
        }
    }
    page
}

/// The texts between `<` and `>`, outside of comments and scripts.
fn tags(html: &str) -> Vec<&str> {
    let mut tags = Vec::new();
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        let comment = rest.starts_with("!--");
        let end = if comment { rest.find("-->") } else { end_of_tag(rest) };
        let Some(end) = end else { break };
        let tag = &rest[..end];
        rest = &rest[end + if comment { 3 } else { 1 }..];
        if tag.starts_with("script") {
            rest = rest.find("</script").map_or("", |at| &rest[at..]);
        }
        if !comment {
            tags.push(tag);
        }
    }
    tags
}

/// The first `>` outside of quotes.
fn end_of_tag(rest: &str) -> Option<usize> {
    let mut quoted = false;
    rest.bytes().position(|byte| {
        quoted ^= byte == b'"';
        byte == b'>' && !quoted
    })
}

fn attributes(tag: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut rest = tag;
    while let Some((before, after)) = rest.split_once("=\"") {
        let Some((value, after)) = after.split_once('"') else { break };
        found.extend(before.split_whitespace().next_back().map(|name| (name, value)));
        rest = after;
    }
    found
}

/// Decodes the escapes of HTML and of addresses.
fn decoded(value: &str) -> String {
    let value = value
        .replace("&#x27;", "'")
        .replace("&#39;", "'")
        .replace("&quot;", "\"")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&");
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = (*first == b'%').then(|| after.get(..2)).flatten();
        let byte = escaped
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_and_links_of_a_page_are_read() {
        let html = "<!-- <a href=\"no\"> --><h2 id=\"a-b\"><a class=\"h\" href=\"#a-b\">A</a></h2>\n<img alt=\"x > y\" src=\"p%20q.svg\">\
                    <script src=\"s.js\">if (a < b) { '<a href=\"no\">' }</script><a href=\"t.html?x=1&amp;y=2#z\">";
        let page = read(html);
        assert_eq!(page.anchors, BTreeSet::from(["a-b".to_owned()]));
        assert_eq!(page.links, ["#a-b", "p q.svg", "s.js", "t.html?x=1&y=2#z"]);
    }

    #[test]
    fn broken_links_and_anchors_are_found_and_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let site = folder.path();
        fs::create_dir_all(site.join("deep")).unwrap();
        fs::write(
            site.join("index.html"),
            "<a href=\"deep/a.html#here\"><a href=\"https://x.org/none\"><a href=\"#top\">",
        )
        .unwrap();
        fs::write(
            site.join("deep/a.html"),
            "<p id=\"here\"><a href=\"../index.html\"><img src=\"../none.svg\"><a href=\"a.html#gone\">",
        )
        .unwrap();
        let report = check(site).unwrap();
        assert_eq!((report.pages, report.links), (2, 5));
        let expect = [
            "deep/a.html: ../none.svg: no file none.svg",
            "deep/a.html: a.html#gone: no `gone` in deep/a.html",
            "index.html: #top: no `top` in index.html",
        ];
        assert_eq!(report.broken, expect);
    }
}
