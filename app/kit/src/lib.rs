//! What the functions of the board share.

mod ask;
mod live;
mod post;
pub mod session;
mod user;

pub use ask::{all, answer, ask, tell};
pub use live::Live;
pub use post::{LONGEST, NewPost, Post, Posted, live_key};
pub use user::{Credentials, Verdict};

/// As digits that nobody can take for anything else.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Text that stands in HTML.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    #[test]
    fn text_cannot_leave_its_place_in_html() {
        assert_eq!(
            super::escape("<a href=\"x\" title='&'>"),
            "&lt;a href=&quot;x&quot; title=&#39;&amp;&#39;&gt;"
        );
    }
}
