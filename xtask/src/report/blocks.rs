//! A report as a list of blocks, and its two forms: Markdown for the repository, one page of HTML without anything from elsewhere for the browser.

/// A piece of the report. Words may bear `**strong**`, `*stressed*` and `` `code` ``.
pub enum Block {
    Heading(String),
    Text(String),
    List(Vec<String>),
    Table {
        head: Vec<String>,
        rows: Vec<Vec<String>>,
    },
}

use Block::{Heading, List, Table, Text};

/// For the repository. The first heading is the title.
pub fn markdown(blocks: &[Block]) -> String {
    let mut out = String::new();
    for (n, block) in blocks.iter().enumerate() {
        match block {
            Heading(text) => out += &format!("{} {text}\n\n", if n == 0 { "#" } else { "##" }),
            Text(text) => out += &format!("{text}\n\n"),
            List(items) => {
                items.iter().for_each(|item| out += &format!("* {item}\n"));
                out.push('\n');
            }
            Table { head, rows } => {
                let line = |cells: &[String]| {
                    let cells: Vec<String> = cells.iter().map(|c| c.replace('|', "\\|")).collect();
                    format!("| {} |\n", cells.join(" | "))
                };
                out += &line(head);
                out += &format!("|{}\n", "---|".repeat(head.len()));
                rows.iter().for_each(|row| out += &line(row));
                out.push('\n');
            }
        }
    }
    out.trim_end().to_string() + "\n"
}

const STYLE: &str = ":root{color-scheme:light dark}\
body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff;overflow-wrap:break-word}\
table{border-collapse:collapse;margin:1rem 0}th,td{border-bottom:1px solid #ddd;padding:.25rem .6rem;text-align:left;vertical-align:top}\
td:first-child{min-width:9rem}td code{overflow-wrap:anywhere}.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}code{background:#f2f2f2;padding:0 .2em}h1,h2{line-height:1.2}\
@media(max-width:40rem){body{overflow-wrap:anywhere}ul{padding-left:1.2rem}table,tbody,tr,td{display:block}th{display:none}tr{border-bottom:1px solid #ddd;padding:.4rem 0}\
td,.n{border:0;padding:0;text-align:left}td:empty{display:none}td::before{content:attr(data-of) ': ';color:#666}td:first-child{font-weight:600}td:first-child::before,td:nth-child(2):last-child::before{content:''}}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#161616}th,td,tr{border-color:#333}code{background:#262626}td::before{color:#999}}";

/// For the browser.
pub fn html(title: &str, blocks: &[Block]) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{}</title><style>{STYLE}</style></head><body>\n",
        escaped(title)
    );
    for (n, block) in blocks.iter().enumerate() {
        match block {
            Heading(text) => {
                let h = if n == 0 { "h1" } else { "h2" };
                out += &format!("<{h}>{}</{h}>\n", inline(text));
            }
            Text(text) => out += &format!("<p>{}</p>\n", inline(text)),
            List(items) => {
                let items: String = items
                    .iter()
                    .map(|i| format!("<li>{}</li>\n", inline(i)))
                    .collect();
                out += &format!("<ul>\n{items}</ul>\n");
            }
            Table { head, rows } => {
                let is_amount = |cell: &String| {
                    cell.len() < 20 && cell.chars().next().is_none_or(|c| c.is_ascii_digit())
                };
                let numbers: Vec<bool> = (0..head.len())
                    .map(|n| rows.iter().all(|row| row.get(n).is_some_and(is_amount)))
                    .collect();
                let class = |n: usize| match numbers.get(n) {
                    Some(true) => " class=\"n\"",
                    _ => "",
                };
                out += "<table><tr>";
                for (n, name) in head.iter().enumerate() {
                    out += &format!("<th{}>{}</th>", class(n), inline(name));
                }
                out += "</tr>\n";
                for row in rows {
                    out += "<tr>";
                    for (n, cell) in row.iter().enumerate() {
                        let of = head.get(n).map_or(String::new(), |name| escaped(name));
                        let (class, cell) = (class(n), inline(cell));
                        out += &format!("<td{class} data-of=\"{of}\">{cell}</td>");
                    }
                    out += "</tr>\n";
                }
                out += "</table>\n";
            }
        }
    }
    out + "</body></html>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// The three marks become elements; a mark without its partner stays as it is. Links keep their words.
fn inline(text: &str) -> String {
    let mut out = escaped(text);
    for (mark, element) in [("`", "code"), ("**", "strong"), ("*", "em")] {
        let mut parts = out.split(mark).map(String::from).collect::<Vec<_>>();
        if parts.len().is_multiple_of(2) {
            let last = parts.pop().unwrap_or_default();
            if let Some(before) = parts.last_mut() {
                before.push_str(mark);
                before.push_str(&last);
            }
        }
        out = parts
            .iter()
            .enumerate()
            .map(|(n, part)| match n % 2 {
                0 => part.clone(),
                _ => format!("<{element}>{part}</{element}>"),
            })
            .collect();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let blocks = [
            Heading("A".into()),
            Text("1 < 2 & **no** `x*y`".into()),
            List(vec!["one *word*".into()]),
            Table {
                head: vec!["a".into(), "n".into()],
                rows: vec![vec!["b|c".into(), "12".into()]],
            },
        ];
        assert_eq!(
            markdown(&blocks),
            "# A\n\n1 < 2 & **no** `x*y`\n\n* one *word*\n\n| a | n |\n|---|---|\n| b\\|c | 12 |\n"
        );
        let page = html("t", &blocks);
        for part in [
            "<h1>A</h1>",
            "1 &lt; 2 &amp; <strong>no</strong> <code>x*y</code>",
            "<li>one <em>word</em></li>",
            "<td data-of=\"a\">b|c</td>",
            "<th class=\"n\">n</th>",
            "<td class=\"n\" data-of=\"n\">12</td>",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
    }
}
