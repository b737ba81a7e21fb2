//! URLs: only the host is spoken. A caller can remember a host, and nobody a path.

use super::{MAX_MARKS, Rest, SpeakableText, Step, Url};

/// The maximum length of a host name, in bytes.
const MAX_HOST: usize = 253;

impl SpeakableText {
    /// The beginning of a URL.
    pub(super) fn read_scheme(&mut self, rest: Rest<'_>) -> Result<Step, Step> {
        let is_url = rest.begins_with("http://")? || rest.begins_with("https://")?;
        Ok(if is_url { self.begin_url(0, false) } else { Step::Pass(1) })
    }

    /// The beginning of a URL without its scheme.
    pub(super) fn read_www(&mut self, rest: Rest<'_>) -> Result<Step, Step> {
        const WWW: &str = "www.";
        let is_url = rest.begins_with(WWW)? && rest.char_at(WWW.len())?.is_some_and(char::is_alphanumeric);
        Ok(if is_url { self.begin_url(0, false) } else { Step::Pass(1) })
    }

    pub(super) fn begin_url(&mut self, bracket: usize, is_bracketed: bool) -> Step {
        self.url = Some(Url { is_bracketed, has_host: false });
        Step::Drop(bracket)
    }

    /// Takes a step in a URL: says its host and drops the rest.
    pub(super) fn step_in_url(&mut self, url: Url, rest: Rest<'_>) -> Step {
        let read = if url.has_host { self.read_url_path(url, rest) } else { self.read_host(url, rest) };
        read.unwrap_or_else(|wait| wait)
    }

    fn read_host(&mut self, url: Url, rest: Rest<'_>) -> Result<Step, Step> {
        let scheme = if rest.begins_with("https://")? {
            "https://".len()
        } else if rest.begins_with("http://")? {
            "http://".len()
        } else {
            0
        };
        let address = rest.from(scheme);
        let length = address.run(MAX_HOST, |c| c.is_alphanumeric() || matches!(c, '-' | '.'))?;
        if address.char_at(length)? == Some('@') {
            return Ok(Step::Drop(scheme + length + 1));
        }
        self.url = Some(Url { has_host: true, ..url });
        let host = address.text[..length].trim_end_matches('.');
        let said = host.get(..4).filter(|www| www.eq_ignore_ascii_case("www.")).map_or(host, |_| &host[4..]);
        Ok(Step::Say(scheme + host.len(), said.to_owned().into()))
    }

    fn read_url_path(&mut self, url: Url, rest: Rest<'_>) -> Result<Step, Step> {
        let punctuation = rest.run(MAX_MARKS, |c| ".,;:!?)'_~".contains(c))?;
        match rest.char_at(punctuation)? {
            Some(c) if !ends_url(c) => {
                let path = rest.text[punctuation..].find(|c| ends_url(c) || ".,;:!?)'_~".contains(c));
                Ok(Step::Drop(path.map_or(rest.text.len(), |path| punctuation + path)))
            }
            after => {
                self.url = None;
                let bracket = url.is_bracketed && punctuation == 0 && after == Some('>');
                Ok(Step::Drop(usize::from(bracket)))
            }
        }
    }
}

/// Whether a character cannot be part of a URL in a text.
fn ends_url(c: char) -> bool {
    c.is_whitespace() || "<>\"`|*[]{}\\^".contains(c) || !c.is_ascii() && !c.is_alphanumeric()
}
