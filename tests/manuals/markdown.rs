//! Reads the parts of Markdown that the manuals use: fenced blocks, inline code, links, headings and tables; and the
//! commands of a shell block.

/// A manual.
pub(crate) struct Manual {
    /// Its path in the repository.
    pub path: &'static str,
    pub text: &'static str,
}

/// A fenced block.
#[derive(Clone)]
pub(crate) struct Block {
    /// Path and line, for messages.
    pub place: String,
    /// The first word after the fence, such as `json`.
    pub language: String,
    /// The second word: what the block shows.
    pub kind: String,
    pub text: String,
}

impl Manual {
    pub(crate) fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut open: Option<Block> = None;
        for (number, line) in self.text.lines().enumerate() {
            match (line.trim_start().strip_prefix("```"), &mut open) {
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (Some(info), None) => {
                    let mut words = info.split_whitespace().map(str::to_owned);
                    let (language, kind) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
                    let place = format!("{}:{}", self.path, number + 1);
                    open = Some(Block { place, language, kind, text: String::new() });
                }
                (None, Some(block)) => {
                    block.text += line;
                    block.text.push('\n');
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{} has an open block", self.path);
        blocks
    }

    /// The lines outside of fenced blocks.
    pub(crate) fn prose(&self) -> impl Iterator<Item = &'static str> {
        let mut inside = false;
        self.text.lines().filter(move |line| {
            let is_fence = line.trim_start().starts_with("```");
            inside ^= is_fence;
            !inside && !is_fence
        })
    }

    /// The inline code, `` `like this` ``.
    pub(crate) fn inline_code(&self) -> impl Iterator<Item = &'static str> {
        self.prose().flat_map(|line| line.split('`').skip(1).step_by(2))
    }

    /// The targets of the links.
    pub(crate) fn links(&self) -> impl Iterator<Item = &'static str> {
        self.prose().flat_map(|line| line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(to, _)| to))
    }

    /// The anchors of the headings, as GitHub makes them.
    pub(crate) fn anchors(&self) -> Vec<String> {
        let headings = self.prose().filter(|line| line.starts_with('#'));
        let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        let anchor =
            |line: &str| line.trim_start_matches('#').trim().to_lowercase().chars().filter(kept).collect::<String>();
        headings.map(|line| anchor(line).replace(' ', "-")).collect()
    }

    /// The rows of all tables whose head begins with this cell, without the head. A cell is trimmed.
    pub(crate) fn rows(&self, head: &str) -> Vec<Vec<&'static str>> {
        let mut rows = Vec::new();
        let mut wanted = None;
        for line in self.prose() {
            let Some(cells) = line.strip_prefix("| ").and_then(|line| line.strip_suffix('|')) else {
                wanted = None;
                continue;
            };
            let cells: Vec<_> = cells.split(" | ").map(str::trim).collect();
            let is_wanted = *wanted.get_or_insert(cells[0] == head);
            if is_wanted && cells[0] != head && !cells[0].starts_with("---") {
                rows.push(cells);
            }
        }
        rows
    }
}

/// The names in backticks of a cell.
pub(crate) fn code_of(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The commands of a shell block, each as its words. Knows quotes, comments, continued lines, `|` and `>`; variables
/// stay as they are written.
pub(crate) fn commands(block: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = block.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            ('\\', None) if chars.peek() == Some(&'\n') => drop(chars.next()),
            ('#', None) if word.is_none() => while chars.next_if(|c| *c != '\n').is_some() {},
            (c, None) if c.is_whitespace() || matches!(c, '|' | '<' | '>') => {
                commands.last_mut().expect("there is one").extend(word.take());
                match c {
                    '\n' | '|' => commands.push(Vec::new()),
                    // The file of a redirection is no argument.
                    '<' | '>' => {
                        while chars.next_if(|c| *c == ' ').is_some() {}
                        while chars.next_if(|c| !c.is_whitespace()).is_some() {}
                    }
                    _ => {}
                }
            }
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    commands.last_mut().expect("there is one").extend(word);
    commands.retain(|command| !command.is_empty());
    commands
}
