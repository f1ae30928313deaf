//! What the page is made of, inside the binary: no file has to lie anywhere, and no request leaves the machine.

/// A file of the page.
pub(super) struct Asset {
    /// Where it is asked for.
    pub path: &'static str,
    /// What it is.
    pub mime: &'static str,
    /// All of it.
    pub bytes: &'static [u8],
}

macro_rules! asset {
    ($path:literal, $mime:literal, $file:literal) => {
        Asset {
            path: $path,
            mime: $mime,
            bytes: include_bytes!(concat!("../../assets/", $file)),
        }
    };
}

/// All of them.
pub(super) const ASSETS: &[Asset] = &[
    asset!("/", "text/html; charset=utf-8", "index.html"),
    asset!("/page.css", "text/css; charset=utf-8", "page.css"),
    asset!("/page.js", "text/javascript; charset=utf-8", "page.js"),
    asset!("/charts.js", "text/javascript; charset=utf-8", "charts.js"),
    asset!(
        "/explorer.js",
        "text/javascript; charset=utf-8",
        "explorer.js"
    ),
    asset!("/words.js", "text/javascript; charset=utf-8", "words.js"),
    asset!("/icon.svg", "image/svg+xml", "icon.svg"),
    asset!(
        "/vendor/uPlot.iife.min.js",
        "text/javascript; charset=utf-8",
        "vendor/uPlot.iife.min.js"
    ),
    asset!(
        "/vendor/uPlot.min.css",
        "text/css; charset=utf-8",
        "vendor/uPlot.min.css"
    ),
    asset!(
        "/vendor/uPlot.LICENSE",
        "text/plain; charset=utf-8",
        "vendor/uPlot.LICENSE"
    ),
];
