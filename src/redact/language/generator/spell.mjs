/** Spells numbers by the rules of CLDR's rule-based number formats. */
export class Speller {
  constructor(rules, tag) {
    this.plurals = new Intl.PluralRules(tag);
    this.rules = Object.fromEntries(Object.entries(rules).filter(([name]) => name.startsWith("%")).map(([name, list]) => [name, parseRules(list)]));
  }
  spell(ruleset, n, depth = 0) {
    const rules = this.rules[ruleset];
    if (!rules || depth > 30) return undefined;
    let at = rules.findLastIndex((rule) => rule.base <= n);
    if (at < 0) return undefined;
    let rule = rules[at];
    const substitutions = rule.text.match(/[←→]/g)?.length ?? 0;
    if (substitutions >= 4 && rule.text.includes("→") && n % rule.divisor === 0 && rule.base % rule.divisor !== 0 && at > 0) rule = rules[at - 1];
    let text = rule.text.replace(/\[([^\]]*)\]/g, (_, optional) => (n % rule.divisor === 0 ? "" : optional));
    let failed = false;
    text = text.replace(/(←|→|=)([^←→=]*)\1(→)?/g, (_, kind, name) => {
      const value = kind === "=" ? n : kind === "←" ? Math.floor(n / rule.divisor) : n % rule.divisor;
      if (name && !name.startsWith("%")) { failed = true; return ""; }
      const spelled = this.spell(name || ruleset, value, depth + 1);
      failed ||= spelled === undefined;
      return spelled ?? "";
    });
    text = text.replace(/\$\(cardinal,([^)]*)\)\$/g, (_, forms) => {
      const form = this.plurals.select(Math.floor(n / rule.divisor));
      return (forms.match(new RegExp(`${form}\\{([^}]*)\\}`)) ?? forms.match(/other\{([^}]*)\}/))?.[1] ?? "";
    });
    return failed ? undefined : text.replace(/^'/, "");
  }
}
function parseRules(list) {
  return list.flatMap(([descriptor, text]) => {
    const found = /^([\d,.]+)(?:\/([\d,.]+))?(>*)$/.exec(descriptor);
    if (!found) return [];
    const base = Number(found[1].replace(/[,.]/g, "")), radix = Number((found[2] ?? "10").replace(/[,.]/g, ""));
    let exponent = 0;
    while (radix ** (exponent + 1) <= base) exponent++;
    exponent = Math.max(0, exponent - found[3].length);
    return [{ base, divisor: Math.max(1, radix ** exponent), text: text.replace(/;$/, "") }];
  }).sort((a, b) => a.base - b.base);
}
