//! The built-in texts: English, Spanish, German and French.

use super::PaymentTexts;

/// The built-in texts by BCP 47 code.
pub(super) fn built_in() -> [(String, PaymentTexts); 4] {
    [("en-US", english()), ("es-US", spanish()), ("de-DE", german()), ("fr-FR", french())]
        .map(|(code, texts)| (code.to_owned(), texts))
}

fn english() -> PaymentTexts {
    PaymentTexts {
        card_number: "Please type your card number on the keypad, then press pound.".to_owned(),
        security_code: "Now the security code, the three digits on the back, then pound.".to_owned(),
        security_code_amex: "Now the security code, the four digits on the front, then pound.".to_owned(),
        security_code_any: "Now the security code, three digits, or four on American Express, then pound.".to_owned(),
        expiration_date: "Now the expiry date as four digits, month and year, then pound.".to_owned(),
        postal_code: "Now the postal code of the card, then pound.".to_owned(),
        bank_routing_number: "Please type the nine digits of your bank's routing number on the keypad, then press pound.".to_owned(),
        bank_account_number: "Now your account number, then pound.".to_owned(),
        once_more: "Once more, so that it is certain.".to_owned(),
        retry: "That was not accepted.".to_owned(),
        processing: "Thank you. One moment while that goes through.".to_owned(),
        charged: "Your payment went through. Thank you.".to_owned(),
        pending: "Your payment is on its way from your bank. Thank you.".to_owned(),
        stored: "Your payment details are stored. Thank you.".to_owned(),
        failed: "I am sorry, that did not go through.".to_owned(),
        unknown: "I do not know yet whether that went through. A colleague looks it up and gets back to you.".to_owned(),
        receipt_sent: "I have sent you a receipt by text message.".to_owned(),
        no_receipt: "I cannot send a receipt: your number takes no text messages.".to_owned(),
        confirm_amount: "That is {amount}, charged to your card now. Say yes or press 1; say no or press 2.".to_owned(),
        confirm_amount_account: "That is {amount}, taken from your bank account now. Say yes or press 1; say no or press 2.".to_owned(),
        pay_again: "You paid {amount} {minutes} minutes ago already. Shall I charge it again? Say yes or press 1; say no or press 2.".to_owned(),
        go_on: "Shall I go on with the payment? Say yes or press 1; say no or press 2.".to_owned(),
        cancelled: "The payment is cancelled. Nothing was charged.".to_owned(),
        assent: "yes, yeah, yep, yup, sure, of course, certainly, definitely, absolutely, correct, that's correct, \
            that is correct, that's right, that is right, ok, okay, all right, alright, fine, that's fine, that \
            is fine, go ahead, go ahead with it, go ahead with that, go ahead with the payment, go on, please \
            do, do it, do so, I do, I agree, agree, agreed, I confirm, confirm, confirmed, proceed, continue, \
            sounds good, you may, by all means, affirmative, authorize, authorize it, authorize this, authorize \
            that, I authorize, I authorize it, I authorize this, I authorize that, authorized, authorise, \
            authorise it, authorise this, authorise that, I authorise, I authorise it, I authorise this, I \
            authorise that, authorised".to_owned(),
        refusal: "no, nope, nah, never, no way, not now, not yet, not today, not really, cancel, stop, quit, abort, \
            halt, decline, I decline, refuse, I refuse, forget it, forget about it, never mind, changed my mind, \
            I changed my mind, I have changed my mind, I've changed my mind, rather not, I'd rather not, I would \
            rather not, won't pay, I won't pay, will not pay, I will not pay, negative".to_owned(),
    }
}

fn spanish() -> PaymentTexts {
    PaymentTexts {
        card_number: "Por favor, marque el número de su tarjeta en el teclado y después la tecla numeral.".to_owned(),
        security_code: "Ahora el código de seguridad, los tres dígitos del reverso, y después numeral.".to_owned(),
        security_code_amex: "Ahora el código de seguridad, los cuatro dígitos del frente, y después numeral."
            .to_owned(),
        security_code_any:
            "Ahora el código de seguridad, tres dígitos, o cuatro en American Express, y después numeral.".to_owned(),
        expiration_date: "Ahora la fecha de vencimiento en cuatro dígitos, mes y año, y después numeral.".to_owned(),
        postal_code: "Ahora el código postal de la tarjeta, y después numeral.".to_owned(),
        bank_routing_number:
            "Por favor, marque los nueve dígitos del número de ruta de su banco y después la tecla numeral.".to_owned(),
        bank_account_number: "Ahora el número de su cuenta, y después numeral.".to_owned(),
        once_more: "Una vez más, para estar seguros.".to_owned(),
        retry: "No fue aceptado.".to_owned(),
        processing: "Gracias. Un momento mientras se procesa.".to_owned(),
        charged: "Su pago se realizó. Gracias.".to_owned(),
        pending: "Su pago está en camino desde su banco. Gracias.".to_owned(),
        stored: "Sus datos de pago quedaron guardados. Gracias.".to_owned(),
        failed: "Lo siento, no se pudo realizar.".to_owned(),
        unknown: "Todavía no sé si se realizó. Una persona lo revisará y se pondrá en contacto con usted.".to_owned(),
        receipt_sent: "Le he enviado un recibo por mensaje de texto.".to_owned(),
        no_receipt: "No puedo enviarle un recibo: su número no admite mensajes de texto.".to_owned(),
        confirm_amount:
            "El importe es {amount} y se cargará ahora a su tarjeta. Diga sí o marque 1; diga no o marque 2.".to_owned(),
        confirm_amount_account:
            "El importe es {amount} y se tomará ahora de su cuenta bancaria. Diga sí o marque 1; diga no o marque 2."
                .to_owned(),
        pay_again:
            "Hace {minutes} minutos ya pagó {amount}. ¿Lo cobro otra vez? Diga sí o marque 1; diga no o marque 2."
                .to_owned(),
        go_on: "¿Sigo con el pago? Diga sí o marque 1; diga no o marque 2.".to_owned(),
        cancelled: "El pago está cancelado. No se cobró nada.".to_owned(),
        assent: "sí, que sí, claro, claro que sí, por supuesto, desde luego, vale, de acuerdo, estoy de acuerdo, \
            adelante, siga, proceda, hágalo, dale, correcto, exacto, así es, está bien, perfecto, acepto, \
            confirmo, confirmado, cómo no, okey, ok, afirmativo, autorizo, lo autorizo, autorizado"
            .to_owned(),
        refusal: "no, que no, claro que no, por supuesto que no, desde luego que no, de ninguna manera, en absoluto, \
            no estoy de acuerdo, mejor no, ahora no, todavía no, nunca, jamás, cancele, cancela, cancelar, \
            cancélelo, cáncelelo, cancélalo, pare, alto, basta, detener, detenga, deténgase, deténgalo, cambié \
            de opinión, he cambiado de opinión, olvídelo, déjelo"
            .to_owned(),
    }
}

fn german() -> PaymentTexts {
    PaymentTexts {
        card_number: "Bitte geben Sie Ihre Kartennummer über die Tasten ein, dann die Rautetaste.".to_owned(),
        security_code: "Jetzt die Prüfnummer, die drei Ziffern auf der Rückseite, dann Raute.".to_owned(),
        security_code_amex: "Jetzt die Prüfnummer, die vier Ziffern auf der Vorderseite, dann Raute.".to_owned(),
        security_code_any: "Jetzt die Prüfnummer, drei Ziffern, bei American Express vier, dann Raute.".to_owned(),
        expiration_date: "Jetzt das Ablaufdatum in vier Ziffern, Monat und Jahr, dann Raute.".to_owned(),
        postal_code: "Jetzt die Postleitzahl zur Karte, dann Raute.".to_owned(),
        bank_routing_number: "Bitte geben Sie die neun Ziffern der Routing-Nummer Ihrer Bank ein, dann die Rautetaste.".to_owned(),
        bank_account_number: "Jetzt Ihre Kontonummer, dann Raute.".to_owned(),
        once_more: "Noch einmal, zur Sicherheit.".to_owned(),
        retry: "Das wurde nicht angenommen.".to_owned(),
        processing: "Danke. Einen Moment, das wird jetzt verarbeitet.".to_owned(),
        charged: "Ihre Zahlung ist erfolgt. Vielen Dank.".to_owned(),
        pending: "Ihre Zahlung ist von Ihrer Bank aus unterwegs. Vielen Dank.".to_owned(),
        stored: "Ihre Zahlungsdaten sind gespeichert. Vielen Dank.".to_owned(),
        failed: "Es tut mir leid, das hat nicht geklappt.".to_owned(),
        unknown: "Ich weiß noch nicht, ob das geklappt hat. Jemand sieht nach und meldet sich bei Ihnen.".to_owned(),
        receipt_sent: "Ich habe Ihnen eine Quittung per SMS geschickt.".to_owned(),
        no_receipt: "Eine Quittung kann ich nicht schicken: Ihre Nummer empfängt keine SMS.".to_owned(),
        confirm_amount: "Der Betrag ist {amount}; er wird jetzt Ihrer Karte belastet. Sagen Sie Ja oder drücken Sie die 1; sagen Sie Nein oder drücken Sie die 2.".to_owned(),
        confirm_amount_account: "Der Betrag ist {amount}; er wird jetzt von Ihrem Bankkonto eingezogen. Sagen Sie Ja oder drücken Sie die 1; sagen Sie Nein oder drücken Sie die 2.".to_owned(),
        pay_again: "Vor {minutes} Minuten haben Sie schon einmal {amount} bezahlt. Soll ich den Betrag noch einmal abbuchen? Sagen Sie Ja oder drücken Sie die 1; sagen Sie Nein oder drücken Sie die 2.".to_owned(),
        go_on: "Soll ich mit der Zahlung fortfahren? Sagen Sie Ja oder drücken Sie die 1; sagen Sie Nein oder drücken Sie die 2.".to_owned(),
        cancelled: "Die Zahlung ist abgebrochen. Es wurde nichts abgebucht.".to_owned(),
        assent: "ja, jawohl, jap, klar, na klar, sicher, natürlich, selbstverständlich, gern, gerne, genau, stimmt, \
            das stimmt, richtig, das ist richtig, einverstanden, ich bin einverstanden, in Ordnung, ist in \
            Ordnung, das ist in Ordnung, okay, ok, passt, das passt, alles klar, machen Sie das, mach das, \
            machen Sie weiter, fahren Sie fort, ich bestätige, bestätigt, ich stimme zu, ich ermächtige Sie, ich \
            erlaube es, ich erlaube das".to_owned(),
        refusal: "nein, nee, nö, auf keinen Fall, keinesfalls, niemals, nie, jetzt nicht, nicht jetzt, noch nicht, gar \
            nicht, stopp, stop, halt, abbrechen, abbruch, brechen Sie ab, brechen Sie das ab, brechen Sie die \
            Zahlung ab, brich ab, stornieren, storno, aufhören, hören Sie auf, hör auf, lassen Sie das, lass \
            das, ich lehne ab, abgelehnt, vergessen Sie es, vergiss es, ich habe es mir anders überlegt".to_owned(),
    }
}

fn french() -> PaymentTexts {
    PaymentTexts {
        card_number: "Veuillez taper le numéro de votre carte sur le clavier, puis la touche dièse.".to_owned(),
        security_code: "Maintenant le code de sécurité, les trois chiffres au dos, puis dièse.".to_owned(),
        security_code_amex: "Maintenant le code de sécurité, les quatre chiffres au recto, puis dièse.".to_owned(),
        security_code_any: "Maintenant le code de sécurité, trois chiffres, ou quatre pour American Express, puis dièse.".to_owned(),
        expiration_date: "Maintenant la date d'expiration en quatre chiffres, mois et année, puis dièse.".to_owned(),
        postal_code: "Maintenant le code postal de la carte, puis dièse.".to_owned(),
        bank_routing_number: "Veuillez taper les neuf chiffres du numéro de routage de votre banque, puis la touche dièse.".to_owned(),
        bank_account_number: "Maintenant le numéro de votre compte, puis dièse.".to_owned(),
        once_more: "Encore une fois, par sécurité.".to_owned(),
        retry: "Cela n'a pas été accepté.".to_owned(),
        processing: "Merci. Un instant, le paiement est en cours.".to_owned(),
        charged: "Votre paiement est effectué. Merci.".to_owned(),
        pending: "Votre paiement est en route depuis votre banque. Merci.".to_owned(),
        stored: "Vos coordonnées de paiement sont enregistrées. Merci.".to_owned(),
        failed: "Je suis désolé, cela n'a pas abouti.".to_owned(),
        unknown: "Je ne sais pas encore si le paiement est passé. Une personne va vérifier et reviendra vers vous.".to_owned(),
        receipt_sent: "Je vous ai envoyé un reçu par SMS.".to_owned(),
        no_receipt: "Je ne peux pas envoyer de reçu : votre numéro ne reçoit pas de SMS.".to_owned(),
        confirm_amount: "Le montant est de {amount}, débité maintenant de votre carte. Dites oui ou appuyez sur 1 ; dites non ou appuyez sur 2.".to_owned(),
        confirm_amount_account: "Le montant est de {amount}, débité maintenant de votre compte bancaire. Dites oui ou appuyez sur 1 ; dites non ou appuyez sur 2.".to_owned(),
        pay_again: "Vous avez déjà payé {amount} il y a {minutes} minutes. Dois-je débiter ce montant encore une fois ? Dites oui ou appuyez sur 1 ; dites non ou appuyez sur 2.".to_owned(),
        go_on: "Dois-je continuer le paiement ? Dites oui ou appuyez sur 1 ; dites non ou appuyez sur 2.".to_owned(),
        cancelled: "Le paiement est annulé. Rien n'a été débité.".to_owned(),
        assent: "oui, ouais, bien sûr, bien sûr que oui, d'accord, d accord, c'est d'accord, je suis d'accord, \
            entendu, absolument, certainement, tout à fait, exact, exactement, c'est exact, c'est bon, c'est \
            bien ça, allez-y, vas-y, parfait, volontiers, je confirme, j'accepte, ça marche, continuez, \
            poursuivez, faites-le, ok, j'autorise, je l'autorise".to_owned(),
        refusal: "non, nan, jamais, bien sûr que non, pas du tout, pas question, hors de question, en aucun cas, pas \
            maintenant, pas encore, annulez, annulez tout, annuler, annule, arrêtez, arrêtez tout, arrêter, \
            arrête, stop, stoppez, je refuse, laissez tomber, j'ai changé d'avis".to_owned(),
    }
}
