//! What ordinary people say, with numbers in it: generated sentences, of which nearly none may be cut.

use std::collections::BTreeMap;

use super::{CardParts, RedactionPolicy, Redactor, redact_card_numbers};

/// The sentences. What they are made of stands at their beginning.
const SENTENCES: &str = include_str!("corpus/sentences.txt");

/// Numbers in words, a line per language: `tag|0=zero|1=one`.
const NUMBERS: &str = include_str!("language/samples.txt");

/// The share of sentences that may be cut by mistake: one in 200.
const MAX_CUT: f64 = 0.005;

/// The number of sentences in a language that has sentences of its own, and in any other.
const OWN_SENTENCES: usize = 10_000;
const OTHER_SENTENCES: usize = 1_000;

/// The number of sentences in a conversation.
const CONVERSATION: usize = 10;

/// The alternatives by name. Those without a name are the sentences.
type Rules = BTreeMap<&'static str, Vec<&'static str>>;

/// What is said in one language.
struct Language {
    tag: &'static str,
    rules: Rules,
    /// Numbers in words, with their value.
    numbers: Vec<(u64, &'static str)>,
    sentences: usize,
}

fn sections() -> BTreeMap<&'static str, Rules> {
    let mut sections = BTreeMap::new();
    for section in SENTENCES.split("\n[").skip(1) {
        let (tag, lines) = section.split_once("]\n").unwrap();
        let mut rules = Rules::new();
        for line in lines.lines().filter(|line| !line.is_empty()) {
            if let Some(sentence) = line.strip_prefix("- ") {
                rules.entry("").or_default().push(sentence);
                continue;
            }
            let (name, alternatives) = line.split_once(": ").unwrap();
            rules.insert(name, alternatives.split(" | ").collect());
        }
        sections.insert(tag, rules);
    }
    sections
}

/// All languages whose number words are known, and those in which no numbers are spoken.
fn languages() -> Vec<Language> {
    let mut sections = sections();
    let (any, other) = (sections.remove("any").unwrap(), sections.remove("other").unwrap());
    let numbers = |line: &'static str| {
        let number = |field: &'static str| field.split_once('=').map(|(value, words)| (value.parse().unwrap(), words));
        line.split('|').filter_map(number).collect::<Vec<_>>()
    };
    let spoken: BTreeMap<_, _> = NUMBERS.lines().map(|line| (line.split('|').next().unwrap(), numbers(line))).collect();
    let mut languages: Vec<Language> = sections
        .into_iter()
        .map(|(tag, rules)| Language { tag, rules, numbers: Vec::new(), sentences: OWN_SENTENCES })
        .collect();
    for tag in spoken.keys() {
        if !languages.iter().any(|language| language.tag == *tag) {
            languages.push(Language { tag, rules: other.clone(), numbers: Vec::new(), sentences: OTHER_SENTENCES });
        }
    }
    for language in &mut languages {
        for (name, alternatives) in &any {
            language.rules.entry(name).or_insert_with(|| alternatives.clone());
        }
        language.numbers = spoken.get(language.tag).cloned().unwrap_or_default();
    }
    languages
}

/// A seeded generator (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }

    /// Fills the slots of a text.
    fn expand(&mut self, text: &str, of: &Language) -> String {
        let Some((before, rest)) = text.split_once('{') else { return self.digits(text) };
        let (slot, after) = rest.split_once('}').unwrap();
        self.digits(before) + &self.fill(slot, of) + &self.expand(after, of)
    }

    fn digits(&mut self, text: &str) -> String {
        text.chars()
            .map(|c| if c == '#' { char::from(b'0' + u8::try_from(self.below(10)).unwrap()) } else { c })
            .collect()
    }

    /// The value of a slot.
    fn fill(&mut self, slot: &str, of: &Language) -> String {
        if let Some(digits) = slot.strip_prefix("digits ") {
            let word = |digit: char| of.word(digit.to_digit(10).unwrap().into()).map(str::to_owned);
            let words = |digits: &str| digits.chars().map(word).collect::<Option<Vec<_>>>();
            let digits = self.digits(digits);
            return words(&digits).map_or(digits, |words| words.join(" "));
        }
        let is_spoken = |below: u64| of.numbers.iter().filter(move |(value, _)| (1..below).contains(value));
        match slot {
            "small" => self.spoken(&is_spoken(13).collect::<Vec<_>>(), 13),
            "spoken" => self.spoken(&is_spoken(100).collect::<Vec<_>>(), 100),
            _ => match slot.split_once('-') {
                Some((from, to)) if from.len() == 1 && !from.starts_with(|c: char| c.is_ascii_digit()) => {
                    let letters: Vec<char> = (from.chars().next().unwrap()..=to.chars().next().unwrap()).collect();
                    self.pick(&letters).to_string()
                }
                Some((from, to)) => {
                    let width = if from.starts_with('0') { from.len() } else { 0 };
                    let (from, to): (u64, u64) = (from.parse().unwrap(), to.parse().unwrap());
                    format!("{:0width$}", from + self.below(to - from + 1))
                }
                None => {
                    let alternatives = of.rules.get(slot).unwrap_or_else(|| panic!("{} has no {slot}", of.tag));
                    let chosen = self.pick(alternatives);
                    self.expand(chosen, of)
                }
            },
        }
    }

    /// One of these numbers in words, or a numeral if there are none.
    fn spoken(&mut self, numbers: &[&(u64, &'static str)], below: u64) -> String {
        if numbers.is_empty() { (1 + self.below(below - 1)).to_string() } else { self.pick(numbers).1.to_owned() }
    }
}

impl Language {
    fn word(&self, value: u64) -> Option<&'static str> {
        self.numbers.iter().find(|(known, _)| *known == value).map(|(_, word)| *word)
    }

    fn generate(&self) -> Vec<String> {
        let mut random = Random(self.tag.bytes().fold(7, |seed, byte| seed * 31 + u64::from(byte)));
        (0..self.sentences).map(|_| random.fill("", self)).collect()
    }
}

/// The sentences that are not as they were after the whole conversation.
fn cut_in(conversation: &[String]) -> Vec<&str> {
    let mut redactor = Redactor::default();
    let mut kept: Vec<String> = Vec::new();
    for said in conversation {
        let heard = redactor.redact(said, RedactionPolicy::CardNumbers);
        for (ago, text) in (1..).zip(kept.iter_mut().rev()) {
            *text = CardParts::new(&heard.cards, |card| ago <= card.earlier_inputs()).redact(text).into_owned();
        }
        kept.push(heard.text);
    }
    conversation.iter().zip(&kept).filter(|(said, kept)| said != kept).map(|(said, _)| said.as_str()).collect()
}

#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn share(cut: usize, of: usize) -> f64 {
    cut as f64 / of as f64
}

#[test]
fn what_people_say_survives_alone_and_in_conversations() {
    let mut totals = [0; 3];
    let mut report = Vec::new();
    let mut is_too_much = false;
    for language in languages() {
        let sentences = language.generate();
        let alone: Vec<&String> = sentences.iter().filter(|said| redact_card_numbers(said) != said.as_str()).collect();
        let together: Vec<&str> = sentences.chunks(CONVERSATION).flat_map(cut_in).collect();
        let cut = [alone.len(), together.len()];
        report.push(format!("{} {cut:?} of {}: {alone:?} {together:?}", language.tag, sentences.len()));
        totals = [totals[0] + cut[0], totals[1] + cut[1], totals[2] + sentences.len()];
        // Fewer sentences are too few to measure a share of one in 200.
        is_too_much |= sentences.len() >= 10_000 && cut.iter().any(|cut| share(*cut, sentences.len()) > MAX_CUT);
    }
    let [alone, together, sentences] = totals;
    is_too_much |= share(alone.max(together), sentences) > MAX_CUT;
    assert!(!is_too_much, "{alone} cut alone and {together} in conversations of {sentences}:\n{}", report.join("\n"));
}
