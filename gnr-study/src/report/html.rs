//! The report as one self-contained page: no script, no file beside it, readable on a phone and in the dark.

use super::{Block, Document};

const STYLE: &str = "\
:root{color-scheme:light dark;--fg:#1c1c1e;--bg:#fdfdfc;--line:#d5d5d2;--soft:#f0f0ee}\
@media(prefers-color-scheme:dark){:root{--fg:#e6e6e3;--bg:#17181a;--line:#3c3e42;--soft:#232528}}\
body{font:16px/1.5 system-ui,sans-serif;color:var(--fg);background:var(--bg);max-width:72rem;margin:0 auto;padding:1rem}\
h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2rem}\
.caveat{border-left:4px solid #c77700;background:var(--soft);padding:.6rem .9rem}\
.wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.9rem}\
th,td{border-bottom:1px solid var(--line);padding:.35rem .6rem;text-align:left;white-space:nowrap}\
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr));gap:1rem}\
figure{margin:0;max-width:44rem}figcaption{font-size:.9rem}svg{width:100%;height:auto;display:block}\
.key{display:flex;flex-wrap:wrap;gap:.3rem 1rem;font-size:.9rem;padding:0;list-style:none}\
.key i{display:inline-block;width:1.4rem;height:.3rem;vertical-align:middle;margin-right:.4rem}\
code{background:var(--soft);padding:0 .2em}\
pre{overflow:auto;max-height:24rem;background:var(--soft);padding:.6rem}@media print{pre{max-height:none}}\
dl{display:grid;grid-template-columns:minmax(min-content,max-content) 1fr;gap:.2rem 1.2rem}dt{font-weight:600}\
dd{margin:0}dd,p,figcaption{overflow-wrap:anywhere}@media(max-width:40rem){dl{display:block}dd{margin:0 0 .4rem}}";

/// Escapes a text of one line, or in a drawing, for HTML.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Prose as HTML, in which text between two backticks is code.
fn prose(words: &str) -> String {
    let mut parts: Vec<String> = escaped(words).split('`').map(str::to_owned).collect();
    // A backtick without a partner is a character like others.
    if parts.len().is_multiple_of(2)
        && let Some(last) = parts.pop()
        && let Some(before) = parts.last_mut()
    {
        *before += &format!("`{last}");
    }
    let part = |(i, part): (usize, &String)| {
        if i % 2 == 1 { format!("<code>{part}</code>") } else { part.clone() }
    };
    parts.iter().enumerate().map(part).collect()
}

fn table(header: &[String], rows: &[Vec<String>]) -> String {
    let line = |tag: &str, cells: &[String]| {
        let cells: String = cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell))).collect();
        format!("<tr>{cells}</tr>")
    };
    let rows: String = rows.iter().map(|row| line("td", row)).collect();
    format!(
        "<div class=\"wide\"><table><thead>{}</thead><tbody>{rows}</tbody></table></div>\n",
        line("th", header)
    )
}

impl Document {
    /// The report as one page without scripts or files beside it.
    pub fn html(&self) -> String {
        let title = escaped(&self.title);
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
             content=\"width=device-width,initial-scale=1\"><title>{title}</title><style>{STYLE}</style></head><body>\n\
             <h1>{title}</h1>\n"
        );
        let mut figures = false;
        for block in &self.blocks {
            let figure = matches!(block, Block::Figure { .. });
            page += match (figures, figure) {
                (false, true) => "<div class=\"figures\">\n",
                (true, false) => "</div>\n",
                _ => "",
            };
            figures = figure;
            page += &html(block);
        }
        page + if figures { "</div>\n" } else { "" } + "</body></html>\n"
    }
}

fn html(block: &Block) -> String {
    match block {
        Block::Heading(heading) => format!("<h2>{}</h2>\n", escaped(heading)),
        Block::Caveat(words) => format!("<p class=\"caveat\">{}</p>\n", prose(words)),
        Block::Paragraph(words) => format!("<p>{}</p>\n", prose(words)),
        Block::Table { header, rows } => table(header, rows),
        Block::Key(entries) => {
            let entry = |(colour, words): &((u8, u8, u8), String)| {
                let (colour, opacity) = gnr_plot::page_colour(*colour);
                format!("<li><i style=\"background:{colour};opacity:{opacity}\"></i>{}</li>", escaped(words))
            };
            format!("<ul class=\"key\">{}</ul>\n", entries.iter().map(entry).collect::<String>())
        }
        Block::Figure { caption, svg } => {
            format!("<figure><figcaption>{}</figcaption>{svg}</figure>\n", escaped(caption))
        }
        Block::Facts(facts) => {
            let fact = |(name, value): &(String, String)| {
                format!("<dt>{}</dt><dd>{}</dd>", escaped(name), prose(value))
            };
            format!("<dl>{}</dl>\n", facts.iter().map(fact).collect::<String>())
        }
        Block::Log { title, text } => format!("<p>{}</p><pre>{}</pre>\n", escaped(title), escaped(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_colour_of_a_key_can_be_seen_in_the_dark() {
        let key = html(&Block::Key(vec![
            (gnr_plot::colour_of(0), "SGD".into()),
            (gnr_plot::colour_of(6), "SAM".into()),
        ]));
        assert!(key.contains("background:#0072B2;opacity:1\"></i>SGD"), "{key}");
        assert!(key.contains("background:currentColor;opacity:0.8\"></i>SAM"), "{key}");
    }

    #[test]
    fn words_between_backticks_are_code() {
        for (words, html) in [
            ("plain", "plain"),
            ("`gnr sharpness RUN`, `a<b`", "<code>gnr sharpness RUN</code>, <code>a&lt;b</code>"),
            ("one ` alone", "one ` alone"),
            ("`a` and one ` alone", "<code>a</code> and one ` alone"),
            ("", ""),
        ] {
            assert_eq!(prose(words), html, "{words}");
        }
        let page = html(&Block::Facts(vec![("a`b".into(), "`c`".into())]));
        assert_eq!(page, "<dl><dt>a`b</dt><dd><code>c</code></dd></dl>\n");
    }
}
