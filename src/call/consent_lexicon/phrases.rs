//! The phrases that are neither assent nor refusal, in all built-in languages, separated by commas.

/// Fillers: phrases without meaning in any answer.
pub(super) const FILLERS: &str = "please, thanks, thank you, thank you very much, many thanks, um, umm, uh, uhm, er, ah, oh, eh, hm, \
    hmm, well, so, sir, maam, madam, no problem, no worries, \
    por favor, gracias, muchas gracias, bueno, pues, entonces, señor, señora, señorita, no hay problema, sin problema, \
    bitte, bitte schön, bitte sehr, danke, danke schön, ähm, äh, ach, also, dann, nun, kein problem, \
    s'il vous plaît, s il vous plaît, s'il te plaît, svp, merci, merci beaucoup, merci bien, euh, alors, bon, ben, eh bien, \
    monsieur, madame, pas de problème, pas de souci";

/// Padding: phrases without meaning in a refusal. In a yes they make the answer unclear.
pub(super) const PADDING: &str = "I, me, my, it, that, this, thing, the, to, pay, payment, paying, charge, charged, transaction, card, for, \
    anymore, any more, any longer, all, everything, at, of, right now, now, sorry, I am sorry, I'm sorry, could you, would you, you, \
    want to, let's, just, \
    pagar, pago, el, la, lo, eso, esto, todo, yo, tarjeta, mi, con, transacción, lo siento, ya, \
    zahlen, bezahlen, Zahlung, die, das, den, es, ich, alles, Karte, meine, mehr, lieber, tut mir leid, Entschuldigung, jetzt, sie, \
    payer, paiement, le, les, ce, cela, ça, tout, je, carte, ma, désolé, désolée, pardon, maintenant, ne, suis, plus";

/// Negations of the words that follow, and refusals where they are alone.
pub(super) const NEGATIONS: &str = "not, don't, do not, I don't, I do not, do not want, don't want, I do not want, I don't want, \
    do not want to, don't want to, I do not want to, I don't want to, do not want you to, don't want you to, \
    I do not want you to, I don't want you to, \
    no quiero, yo no quiero, no deseo, \
    nicht, ich will nicht, ich möchte nicht, will nicht, möchte nicht, will ich nicht, möchte ich nicht, will das nicht, \
    möchte das nicht, ich will das nicht, ich möchte das nicht, will ich das nicht, möchte ich das nicht, \
    pas, je ne veux pas, ne veux pas, je veux pas, veux pas, je ne souhaite pas, je ne peux pas";

/// Phrases that contain words of assent or refusal but mean neither.
pub(super) const DOUBTS: &str = "not sure, I'm not sure, I am not sure, yeah right, why not, no idea, I don't know, I do not know, don't know, \
    I don't understand, I do not understand, don't understand, I don't think so, \
    no cancele, no cancelar, no cancela, no lo cancele, no la cancele, no pare, no parar, no se detenga, no detenga, no sé, \
    no entiendo, por qué no, \
    na ja, naja, ja nein, ich weiß nicht, weiß nicht, nicht sicher, warum nicht, nicht wahr, \
    n'annulez pas, n annulez pas, n'annule pas, n'arrêtez pas, n arrêtez pas, n'arrête pas, ne vous arrêtez pas, \
    ne stoppez pas, je ne sais pas, je sais pas, pas sûr, pas sûre, pourquoi pas";
