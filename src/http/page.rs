//! The demo page of `--dev`: a live chat room with presence. Its files are part of the binary.
//!
//! The SDK is the npm bundle of `centrifuge` 5.8.0, complete and unchanged, with its licence; a
//! test compares it with the hash of the registry's file.

/// A file that the server serves.
#[derive(Debug, PartialEq, Eq)]
pub struct Asset {
    pub path: &'static str,
    pub body: &'static [u8],
    /// Headers of the response, besides its length.
    pub headers: &'static [(&'static str, &'static str)],
}

const NO_SNIFF: (&str, &str) = ("X-Content-Type-Options", "nosniff");
const SCRIPT: (&str, &str) = ("Content-Type", "text/javascript; charset=utf-8");
/// The page's own files change with the binary, and are small.
const ASK_AGAIN: (&str, &str) = ("Cache-Control", "no-cache");
/// The SDK's path names its version.
const FOR_EVER: (&str, &str) = ("Cache-Control", "public, max-age=31536000, immutable");
/// Only scripts of this server run, so text that got in as markup would do nothing.
const POLICY: (&str, &str) = (
    "Content-Security-Policy",
    "default-src 'self'; connect-src 'self' ws: wss:; img-src data:; frame-ancestors 'none'",
);

static ASSETS: [Asset; 4] = [
    Asset {
        path: "/",
        body: include_bytes!("assets/index.html"),
        headers: &[("Content-Type", "text/html; charset=utf-8"), ASK_AGAIN, NO_SNIFF, POLICY],
    },
    Asset {
        path: "/assets/room.css",
        body: include_bytes!("assets/room.css"),
        headers: &[("Content-Type", "text/css; charset=utf-8"), ASK_AGAIN, NO_SNIFF],
    },
    Asset {
        path: "/assets/room.js",
        body: include_bytes!("assets/room.js"),
        headers: &[SCRIPT, ASK_AGAIN, NO_SNIFF],
    },
    Asset {
        path: "/assets/centrifuge-5.8.0.js",
        body: include_bytes!("assets/vendor/centrifuge-5.8.0.js"),
        headers: &[SCRIPT, FOR_EVER, NO_SNIFF],
    },
];

/// The file at a path.
#[must_use]
pub fn asset(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::digest::{SHA256, digest};

    fn sha256(bytes: &[u8]) -> String {
        digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_sdk_is_the_registrys_file() {
        let sdk = asset("/assets/centrifuge-5.8.0.js").expect("vendored");
        let file = "2e9a24e8495900b030008edd8a8d3746a218a213044b5ed15635fbadac24d4b8";
        assert_eq!(sha256(sdk.body), file, "package/dist/centrifuge.js of centrifuge 5.8.0");
        let licence = include_bytes!("assets/vendor/centrifuge-LICENSE");
        assert!(licence.starts_with(b"The MIT License"));
    }

    #[test]
    fn the_page_finds_its_files_and_stays_small() {
        let page = asset("/").expect("the page");
        let text = std::str::from_utf8(page.body).expect("text");
        let mut named = 0;
        for part in text.split(['"', '\'']).filter(|part| part.starts_with("/assets/")) {
            assert!(asset(part).is_some(), "{part} is not served");
            named += 1;
        }
        assert_eq!(named, ASSETS.len() - 1);
        let own = ASSETS.iter().filter(|asset| !asset.path.contains("centrifuge"));
        assert!(own.map(|asset| asset.body.len()).sum::<usize>() < 20_000);
    }

    #[test]
    fn nothing_that_people_wrote_becomes_markup() {
        let script = asset("/assets/room.js").expect("the script");
        let text = std::str::from_utf8(script.body).expect("text");
        for sink in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!text.contains(sink), "{sink} would turn text into markup");
        }
    }
}
