//! A source file for the rules: its text, its code without comments and literals, and its code
//! without tests. Columns and lines are unchanged.

use std::path::Path;

/// One file.
pub struct Source {
    /// Path from the package's root, with `/`.
    pub path: String,
    pub text: String,
    /// With comments and the insides of literals blanked.
    pub code: Vec<Token>,
    /// The same without code that is only for tests.
    pub product: Vec<Token>,
}

/// A word or a mark, and its line from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    pub line: usize,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Source {
        let bare = blank_literals(text);
        let code = tokens(&bare);
        let test_file = path.ends_with("/tests.rs") || path.contains("tests/");
        let product = if test_file { Vec::new() } else { without_tests(&code) };
        Source { path: path.into(), text: text.into(), code, product }
    }

    /// Every Rust file under `directory`, sorted.
    pub fn all(root: &Path, directory: &str) -> Vec<Source> {
        let mut paths = Vec::new();
        let mut open = vec![root.join(directory)];
        while let Some(directory) = open.pop() {
            for entry in std::fs::read_dir(&directory).expect("a directory of this package") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    open.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    paths.push(path);
                }
            }
        }
        paths.sort();
        let read = |path: &std::path::PathBuf| {
            let text = std::fs::read_to_string(path).expect("a text file");
            let path = path.strip_prefix(root).expect("under the root");
            Source::new(&path.to_string_lossy().replace('\\', "/"), &text)
        };
        paths.iter().map(read).collect()
    }
}

/// Words and marks; `::` is one mark.
pub fn tokens(text: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut line = 1;
    let mut glued = false;
    for letter in text.chars() {
        let word = letter.is_alphanumeric() || letter == '_';
        match tokens.last_mut() {
            _ if letter.is_whitespace() => {}
            Some(last) if glued && word && is_word(&last.text) => last.text.push(letter),
            Some(last) if glued && letter == ':' && last.text == ":" => last.text.push(letter),
            _ => tokens.push(Token { text: letter.into(), line }),
        }
        glued = !letter.is_whitespace();
        line += usize::from(letter == '\n');
    }
    tokens
}

fn is_word(text: &str) -> bool {
    text.starts_with(|letter: char| letter.is_alphanumeric() || letter == '_')
}

/// The index of the mark that closes the one at `open`, or the end.
pub fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return index;
        }
    }
    tokens.len() - 1
}

/// Does the item that starts at `start` end with a block, and where does it end?
pub fn item_end(tokens: &[Token], start: usize) -> usize {
    let mut index = start;
    while index < tokens.len() {
        match tokens[index].text.as_str() {
            ";" => return index,
            "{" => return closing(tokens, index),
            "(" | "[" => index = closing(tokens, index) + 1,
            _ => index += 1,
        }
    }
    tokens.len() - 1
}

fn without_tests(code: &[Token]) -> Vec<Token> {
    let mut kept = Vec::with_capacity(code.len());
    let mut index = 0;
    while index < code.len() {
        let attribute =
            code[index].text == "#" && code.get(index + 1).is_some_and(|t| t.text == "[");
        let end = if attribute { closing(code, index + 1) } else { index };
        let words: Vec<&str> = code[index..=end].iter().map(|token| token.text.as_str()).collect();
        let cfg = words.get(2) == Some(&"cfg");
        if cfg && words.contains(&"test") && !words.contains(&"not") {
            index = item_end(code, end + 1) + 1;
        } else {
            kept.extend_from_slice(&code[index..=end]);
            index = end + 1;
        }
    }
    kept
}

/// Blanks comments and the insides of literals, keeping every line break.
pub fn blank_literals(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut index = 0;
    while index < letters.len() {
        let end = literal_end(&letters, index);
        if end == index {
            out.push(letters[index]);
            index += 1;
            continue;
        }
        for letter in &letters[index..end] {
            out.push(if *letter == '\n' { '\n' } else { ' ' });
        }
        index = end;
    }
    out
}

/// Where the comment or literal that starts here ends; the same index if there is none.
fn literal_end(letters: &[char], at: usize) -> usize {
    let next = |offset: usize| letters.get(at + offset).copied().unwrap_or('\0');
    let inside_word = at > 0 && (letters[at - 1].is_alphanumeric() || letters[at - 1] == '_');
    match letters[at] {
        '/' if next(1) == '/' => find(letters, at, &['\n']),
        '/' if next(1) == '*' => block_comment_end(letters, at),
        '"' => quoted_end(letters, at + 1, '"'),
        '\'' if next(1) == '\\' => quoted_end(letters, at + 1, '\''),
        '\'' if next(2) == '\'' => at + 3,
        'r' if !inside_word || letters[at - 1] == 'b' => raw_end(letters, at),
        _ => at,
    }
}

fn find(letters: &[char], from: usize, needle: &[char]) -> usize {
    let found = letters[from..].windows(needle.len()).position(|window| window == needle);
    found.map_or(letters.len(), |position| from + position)
}

fn quoted_end(letters: &[char], from: usize, quote: char) -> usize {
    let mut index = from;
    while index < letters.len() {
        match letters[index] {
            '\\' => index += 2,
            letter if letter == quote => return index + 1,
            _ => index += 1,
        }
    }
    letters.len()
}

fn block_comment_end(letters: &[char], at: usize) -> usize {
    let mut depth = 0;
    let mut index = at;
    while index + 1 < letters.len() {
        match (letters[index], letters[index + 1]) {
            ('/', '*') => (depth, index) = (depth + 1, index + 2),
            ('*', '/') => (depth, index) = (depth - 1, index + 2),
            _ => index += 1,
        }
        if depth == 0 {
            return index;
        }
    }
    letters.len()
}

fn raw_end(letters: &[char], at: usize) -> usize {
    let hashes = letters[at + 1..].iter().take_while(|letter| **letter == '#').count();
    if letters.get(at + 1 + hashes) != Some(&'"') {
        return at;
    }
    let mut close = vec!['"'];
    close.resize(hashes + 1, '#');
    let end = find(letters, at + 2 + hashes, &close);
    (end + close.len()).min(letters.len())
}
