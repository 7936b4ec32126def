//! The report as one self-contained page: no script, no file beside it, readable on a phone and in the dark.

use anyhow::Result;

use super::Report;
use super::curves::{self, Quantity};

const STYLE: &str = "\
:root{color-scheme:light dark;--fg:#1c1c1e;--bg:#fdfdfc;--line:#d5d5d2;--soft:#f0f0ee}\
@media(prefers-color-scheme:dark){:root{--fg:#e6e6e3;--bg:#17181a;--line:#3c3e42;--soft:#232528}}\
body{font:16px/1.5 system-ui,sans-serif;color:var(--fg);background:var(--bg);max-width:64rem;margin:0 auto;padding:1rem}\
h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2rem}\
.caveat{border-left:4px solid #c77700;background:var(--soft);padding:.6rem .9rem}\
.wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.9rem}\
th,td{border-bottom:1px solid var(--line);padding:.35rem .7rem;text-align:left;white-space:nowrap}\
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr));gap:1rem}\
figure{margin:0}figcaption{font-size:.9rem}svg{width:100%;height:auto;display:block}\
.key{display:flex;flex-wrap:wrap;gap:.3rem 1rem;font-size:.9rem;padding:0;list-style:none}\
.key i{display:inline-block;width:1.4rem;height:.3rem;vertical-align:middle;margin-right:.4rem}\
pre{overflow-x:auto;background:var(--soft);padding:.6rem}dt{font-weight:600}dd{margin:0 0 .4rem;overflow-wrap:anywhere}";

/// Text as HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
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

impl Report<'_> {
    /// # Errors
    /// When a curve cannot be drawn.
    pub(in crate::reproduce) fn html(&self) -> Result<String> {
        let (header, rows) = self.accuracies();
        let (time_header, time_rows) = self.times();
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
             content=\"width=device-width,initial-scale=1\"><title>{title}</title><style>{STYLE}</style></head><body>\n\
             <h1>{title}</h1>\n<p class=\"caveat\">{}</p>\n{}<p>Mean ± sample standard deviation over seeds. {}</p>\n\
             <h2>Differences to the base method, same seeds</h2>\n{}<p>{}</p>\n",
            escaped(self.plan.scale.caveat()),
            table(&header, &rows),
            escaped(Self::product_caveat()),
            table(&Self::difference_header(), &self.difference_rows()),
            escaped(&self.conclusion()),
            title = escaped(&self.title()),
        );

        page += "<h2>Curves</h2>\n<ul class=\"key\">";
        for method in self.methods() {
            let (r, g, b) = curves::colour(method);
            page +=
                &format!("<li><i style=\"background:rgb({r},{g},{b})\"></i>{}</li>", escaped(method.title()));
        }
        page += "</ul>\n<p>Mean over seeds, with a band of one sample standard deviation.</p>\n<div class=\"figures\">\n";
        for net in self.nets() {
            for quantity in [Quantity::TestAccuracy, Quantity::TrainLoss] {
                if let Some(svg) = curves::svg(self.results, net, &self.methods(), quantity)? {
                    let caption = format!("{}: {}", self.plan.nets[net].heading(), quantity.title());
                    page +=
                        &format!("<figure><figcaption>{}</figcaption>{svg}</figure>\n", escaped(&caption));
                }
            }
        }
        page += "</div>\n";

        page += &format!(
            "<h2>Time</h2>\n{}<p>{}</p>\n<h2>Origin</h2>\n<dl>",
            table(&time_header, &time_rows),
            escaped(Self::time_caveat())
        );
        for (name, value) in self.provenance() {
            page += &format!("<dt>{name}</dt><dd>{}</dd>", escaped(&value));
        }
        page += "</dl>\n";
        for failure in self.failures {
            page += &format!(
                "<p>Failed: {}</p><pre>{}</pre>\n",
                escaped(&failure.name),
                escaped(&failure.reason)
            );
        }
        page += &format!("<p>{}</p>\n</body></html>\n", escaped(Self::other_scales()));
        Ok(page)
    }
}
