//! The built-in texts of `Compliance`: examples, for the lawyer of who uses them.

/// Texts by BCP 47 code. Of several texts of one language the first is used that can be filled in.
type BuiltIn = &'static [(&'static str, &'static str)];

/// That the agent is a machine. The second text of a language is that of a server without `BUSINESS_NAME`.
pub(super) const DISCLOSURE: BuiltIn = &[
    ("en-US", "This is the automated AI assistant of {business}."),
    ("en-US", "This is an automated AI assistant."),
    ("es-US", "Le atiende el asistente automático de inteligencia artificial de {business}."),
    ("es-US", "Le atiende un asistente automático de inteligencia artificial."),
    ("de-DE", "Hier spricht der automatische KI-Assistent von {business}."),
    ("de-DE", "Hier spricht ein automatischer KI-Assistent."),
    ("fr-FR", "Vous êtes en relation avec l'assistant automatique d'intelligence artificielle de {business}."),
    ("fr-FR", "Vous êtes en relation avec un assistant automatique d'intelligence artificielle."),
];

/// The receipt of a payment. The second text of a language is that of a payment that stores the card and charges nothing.
pub(super) const RECEIPT: BuiltIn = &[
    (
        "en-US",
        "{business}: we received your payment of {amount}, card or account ending in {last4}, on {date} at {time}. \
         Reference: {reference}. Questions? Call {phone}.",
    ),
    (
        "en-US",
        "{business}: your card or account ending in {last4} was stored on {date} at {time}. Nothing was charged. \
         Reference: {reference}. Questions? Call {phone}.",
    ),
    (
        "es-US",
        "{business}: hemos recibido su pago de {amount}, tarjeta o cuenta terminada en {last4}, el {date} a las {time}. \
         Referencia: {reference}. ¿Preguntas? Llame al {phone}.",
    ),
    (
        "es-US",
        "{business}: su tarjeta o cuenta terminada en {last4} quedó guardada el {date} a las {time}. No se ha cobrado nada. \
         Referencia: {reference}. ¿Preguntas? Llame al {phone}.",
    ),
    (
        "de-DE",
        "{business}: Wir haben Ihre Zahlung von {amount} erhalten, Karte oder Konto mit den letzten Ziffern {last4}, am {date} um \
         {time}. Referenz: {reference}. Fragen? Rufen Sie {phone} an.",
    ),
    (
        "de-DE",
        "{business}: Ihre Karte oder Ihr Konto mit den letzten Ziffern {last4} wurde am {date} um {time} gespeichert. Abgebucht \
         wurde nichts. Referenz: {reference}. Fragen? Rufen Sie {phone} an.",
    ),
    (
        "fr-FR",
        "{business} : nous avons reçu votre paiement de {amount}, carte ou compte se terminant par {last4}, le {date} à {time}. \
         Référence : {reference}. Une question ? Appelez le {phone}.",
    ),
    (
        "fr-FR",
        "{business} : votre carte ou compte se terminant par {last4} a été enregistré le {date} à {time}. Rien n'a été débité. \
         Référence : {reference}. Une question ? Appelez le {phone}.",
    ),
];

/// The authorisation of one debit of a bank account: what it has to state is in the rules of Nacha for TEL entries.
pub(super) const ACH_AUTHORIZATION: BuiltIn = &[
    (
        "en-US",
        "Today, {date}, you, {name}, authorize {business} to make one electronic debit of {amount}, on or after today, from your \
         {account}. You may revoke this before it is carried out, or ask about it, at {phone} during business hours. Do you \
         authorize this? Say yes or no, or press 1 for yes or 2 for no.",
    ),
    (
        "en-US",
        "Today, {date}, you, {name}, authorize us to make one electronic debit of {amount}, on or after today, from your \
         {account}. You may revoke this before it is carried out, or ask about it, at {phone} during business hours. Do you \
         authorize this? Say yes or no, or press 1 for yes or 2 for no.",
    ),
    (
        "es-US",
        "Hoy, {date}, usted, {name}, autoriza a {business} a hacer un único débito electrónico de {amount}, hoy o más adelante, \
         de su {account}. Puede revocarlo antes de que se realice, o preguntar por él, en el {phone} en horario de oficina. \
         ¿Lo autoriza? Diga sí o no, o pulse 1 para sí o 2 para no.",
    ),
    (
        "es-US",
        "Hoy, {date}, usted, {name}, nos autoriza a hacer un único débito electrónico de {amount}, hoy o más adelante, de su \
         {account}. Puede revocarlo antes de que se realice, o preguntar por él, en el {phone} en horario de oficina. ¿Lo \
         autoriza? Diga sí o no, o pulse 1 para sí o 2 para no.",
    ),
    (
        "de-DE",
        "Heute, am {date}, ermächtigen Sie, {name}, {business} zu einer einmaligen elektronischen Abbuchung von {amount}, heute \
         oder später: {account}. Widerrufen können Sie das, solange es nicht ausgeführt ist, oder dazu fragen, zu den \
         Geschäftszeiten unter {phone}. Sind Sie einverstanden? Sagen Sie ja oder nein, oder drücken Sie 1 für ja oder 2 \
         für nein.",
    ),
    (
        "de-DE",
        "Heute, am {date}, ermächtigen Sie, {name}, uns zu einer einmaligen elektronischen Abbuchung von {amount}, heute oder \
         später: {account}. Widerrufen können Sie das, solange es nicht ausgeführt ist, oder dazu fragen, zu den Geschäftszeiten \
         unter {phone}. Sind Sie einverstanden? Sagen Sie ja oder nein, oder drücken Sie 1 für ja oder 2 für nein.",
    ),
    (
        "fr-FR",
        "Aujourd'hui, le {date}, vous, {name}, autorisez {business} à effectuer un seul prélèvement électronique de {amount}, \
         aujourd'hui ou plus tard, sur votre {account}. Vous pouvez révoquer cette autorisation avant son exécution, ou poser vos \
         questions, au {phone} aux heures de bureau. Êtes-vous d'accord ? Dites oui ou non, ou appuyez sur 1 pour oui ou 2 pour \
         non.",
    ),
    (
        "fr-FR",
        "Aujourd'hui, le {date}, vous, {name}, nous autorisez à effectuer un seul prélèvement électronique de {amount}, \
         aujourd'hui ou plus tard, sur votre {account}. Vous pouvez révoquer cette autorisation avant son exécution, ou poser vos \
         questions, au {phone} aux heures de bureau. Êtes-vous d'accord ? Dites oui ou non, ou appuyez sur 1 pour oui ou 2 pour \
         non.",
    ),
];

/// That a card is stored. What else a business may do with it is for its own text to say.
pub(super) const STORED_CARD: BuiltIn = &[
    (
        "en-US",
        "You allow {business} to keep your {account}, and to charge it later for what you order then, each time only the amount \
         that you agree to. This holds until you end it, which you can do at any time at {phone}. If it changes, we tell you \
         before. Do you agree? Say yes or no, or press 1 for yes or 2 for no.",
    ),
    (
        "en-US",
        "You allow us to keep your {account}, and to charge it later for what you order then, each time only the amount that you \
         agree to. This holds until you end it, which you can do at any time at {phone}. If it changes, we tell you before. \
         Do you agree? Say yes or no, or press 1 for yes or 2 for no.",
    ),
    (
        "es-US",
        "Usted permite a {business} guardar su {account} y cobrar más adelante lo que usted pida, cada vez solo el importe que \
         usted acepte. Vale hasta que usted le ponga fin, lo que puede hacer en cualquier momento en el {phone}. Si algo \
         cambia, se lo diremos antes. ¿Está de acuerdo? Diga sí o no, o pulse 1 para sí o 2 para no.",
    ),
    (
        "es-US",
        "Usted nos permite guardar su {account} y cobrar más adelante lo que usted pida, cada vez solo el importe que usted \
         acepte. Vale hasta que usted le ponga fin, lo que puede hacer en cualquier momento en el {phone}. Si algo cambia, \
         se lo diremos antes. ¿Está de acuerdo? Diga sí o no, o pulse 1 para sí o 2 para no.",
    ),
    (
        "de-DE",
        "Sie erlauben {business}, Ihre {account} zu speichern und später mit dem zu belasten, was Sie dann bestellen, jedes Mal \
         nur mit dem Betrag, dem Sie zustimmen. Das gilt, bis Sie es beenden, was Sie jederzeit unter {phone} können. Ändert \
         sich etwas, sagen wir es Ihnen vorher. Sind Sie einverstanden? Sagen Sie ja oder nein, oder drücken Sie 1 für ja oder \
         2 für nein.",
    ),
    (
        "de-DE",
        "Sie erlauben uns, Ihre {account} zu speichern und später mit dem zu belasten, was Sie dann bestellen, jedes Mal nur mit \
         dem Betrag, dem Sie zustimmen. Das gilt, bis Sie es beenden, was Sie jederzeit unter {phone} können. Ändert sich \
         etwas, sagen wir es Ihnen vorher. Sind Sie einverstanden? Sagen Sie ja oder nein, oder drücken Sie 1 für ja oder 2 für \
         nein.",
    ),
    (
        "fr-FR",
        "Vous permettez à {business} de conserver votre {account} et de la débiter plus tard pour ce que vous commanderez alors, \
         chaque fois du seul montant que vous acceptez. Cela vaut jusqu'à ce que vous y mettiez fin, ce que vous pouvez faire à \
         tout moment au {phone}. Si quelque chose change, nous vous le dirons avant. Êtes-vous d'accord ? Dites oui ou non, ou \
         appuyez sur 1 pour oui ou 2 pour non.",
    ),
    (
        "fr-FR",
        "Vous nous permettez de conserver votre {account} et de la débiter plus tard pour ce que vous commanderez alors, chaque \
         fois du seul montant que vous acceptez. Cela vaut jusqu'à ce que vous y mettiez fin, ce que vous pouvez faire à tout \
         moment au {phone}. Si quelque chose change, nous vous le dirons avant. Êtes-vous d'accord ? Dites oui ou non, ou appuyez \
         sur 1 pour oui ou 2 pour non.",
    ),
];
