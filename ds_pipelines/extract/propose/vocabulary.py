"""What a column's name suggests that it holds: words of several languages, folded to plain lower case.

What belongs here: the words, and finding them in names. What does not: what follows for the column (`decide`).

A name is split where its writer saw words (`ship_address`, `BillingPostalCode`), and each word and each two neighbours
are looked up (`zip_code`, `zipcode`). Parts are also looked for inside words, because some languages write compounds:
`Rechnungsstrasse`, `geboortedatum`.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_LETTERS = str.maketrans({"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ı": "i"})


@dataclass(frozen=True)
class Meaning:
    """What a column holds, as far as its name tells."""

    what: str
    because: str
    words: frozenset[str]
    parts: tuple[str, ...] = ()
    identifies: bool = True
    """Whether its values are those of a person: copies of them in other columns are looked for."""
    numbers: bool = True
    """Whether a number under this name is one of them, too: a phone may be, a name is not."""


def words(text: str) -> frozenset[str]:
    """The words of a text, of which each stands for itself."""
    return frozenset(text.split())


def _meaning(
    what: str, because: str, names: str, parts: str = "", *, identifies: bool = True, numbers: bool = True
) -> Meaning:
    return Meaning(what, because, words(names), tuple(parts.split()), identifies, numbers)


BIRTH = _meaning(
    "a date of birth", "the whole date singles people out; the year is enough for an age",
    "birth born dob bday bdate birthday nascita narozeni fodt fodelse",
    "birthd birthday geburt geboren naissance nacimiento nascimento geboorte urodzen dogum",
    identifies=False,
)  # fmt: skip
AGE = _meaning(
    "an age", "an exact age singles people out; a range is enough",
    "age alter edad idade leeftijd eta wiek yas", identifies=False,
)  # fmt: skip
FREE_TEXT = _meaning(
    "free text", "people write of themselves and of others in it",
    "note notes comment comments remark remarks description desc message messages body text bio biography memo story "
    "review feedback reason details summary about content subject annotation observations nota notas notities "
    "omschrijving commentaire remarque texte texto testo tekst nachricht opmerking uwagi opis descricao descripcion",
    "comment descri bemerk kommentar notiz beschreib observac mensaje mensagem messagg",
    identifies=False, numbers=False,
)  # fmt: skip
SENSITIVE = _meaning(
    "a sensitive fact", "nobody should learn it of somebody",
    "religion race ethnicity ethnic gender sex sexe sexo sesso geschlecht geslacht health diagnosis disease medical "
    "disability pregnant hiv allergy allergies union party politics political criminal conviction salary wage wages "
    "income gehalt lohn einkommen salaire revenu salario sueldo renda stipendio reddito salaris inkomen bonus iq",
    "religio krank diagnos behinder schwanger konfession salary income gehalt",
    identifies=False,
)  # fmt: skip

_IDENTIFYING = (
    _meaning(
        "a secret", "it opens an account",
        "password passwd passwort pwd pass passphrase passcode pin token secret salt hash apikey otp credential "
        "credentials contrasena senha wachtwoord haslo parola losenord motdepasse",
        "password passwor kennwort",
    ),
    _meaning(
        "an e-mail address", "it says who it is",
        "email mail emailaddress mailaddress courriel correo correio posta epost eposta", "email mailadr",
    ),
    _meaning(
        "a phone number", "it says who it is",
        "phone phones telephone tel mobile mobil cell cellphone fax telefax handy movil celular cellulare gsm "
        "whatsapp extension ext sms telefoon telefono",
        "phone telefon telefax telefono telemovel mobilnr handynum rufnummer",
    ),
    _meaning(
        "a number of a payment card or an account", "it serves no analysis, and others pay with it",
        "card cards cardnumber cardno cardnum creditcard pan cvv cvc iban bic swift account accountnumber accountno "
        "acct bankaccount konto kontonummer karte tarjeta carte carta kaart rekening cuenta compte conta conto "
        "karta",
        "iban kreditkart kontonr kontonum creditcard bankkonto rekeningn",
    ),
    _meaning(
        "a number that an authority gave", "it says who it is",
        "ssn nin nino sin tin tax taxid taxno taxnumber vat vatid vatno passport passportno license licence licenseno "
        "licenceno driverlicense nationalid idcard idnumber identity cpf cnpj dni nie nif nif bsn pesel personnummer "
        "curp rfc siret siren insee steuerid steuernummer ausweis reisepass passeport pasaporte passaporto paspoort "
        "insurance insurancenumber svnr ahv codicefiscale plate licenseplate kennzeichen vin",
        "passport socialsec steuernr steuernum versicherungsn nationalid ausweisn",
    ),
    _meaning(
        "an address on a network, or of a device", "it leads to a person",
        "ip ipaddr ipaddress ipv4 ipv6 mac macaddress macaddr imei imsi udid device deviceid cookie session sessionid "
        "useragent fingerprint host hostname", "ipadr",
    ),
    _meaning(
        "a place on the map", "it leads to a door",
        "latitude longitude lat lon lng long geo geom geometry geog geography coordinates coords coord gps location "
        "breitengrad laengengrad", identifies=False,
    ),
    _meaning(
        "an account on a site, or a page", "it leads to a person",
        "username user login loginname nick nickname handle alias screenname twitter facebook instagram linkedin skype "
        "github url uri link website homepage web photo picture avatar image path benutzer utilisateur usuario utente "
        "gebruiker", "username homepage website benutzern photo",
    ),
    _meaning(
        "a postcode", "a whole postcode is a few houses; {truncate: 2} would leave the area where they are long",
        "postcode postalcode postal zip zipcode plz cp codepostal codigopostal cap cep pincode eircode psc",
        "postcode zipcode postleit postnummer postnr codepost kodpocz", identifies=False,
    ),
    _meaning(
        "an address", "it says who lives there",
        "address addresses addr adr street streets road house housenumber houseno apartment apt flat building block "
        "rue calle rua via strada straat straatnaam huisnummer ulica ulice sokak domicile domicilio endereco "
        "direccion indirizzo hausnummer hausnr numerorue adresse adres adress cadde gata vej gatuadress",
        "address adress strasse street anschrift direccion indirizz enderec wohnung",
    ),
    _meaning(
        "a town", "with little else it singles people out where few live",
        "city town village municipality suburb district county neighbourhood neighborhood ort stadt wohnort ville "
        "commune ciudad pueblo poblacion localidad cidade citta comune plaats woonplaats stad miasto mesto sehir",
        "gemeinde",
        identifies=False, numbers=False,
    ),
    _meaning(
        "a name", "it may say who it is",
        "name names firstname lastname fullname surname middlename forename givenname familyname maidenname initials "
        "displayname contact person customer client patient employee owner manager author composer writer artist actor "
        "recipient sender addressee beneficiary holder cardholder signatory signature salesperson rep agent driver "
        "teacher doctor nurse student member guest host tenant applicant vorname nachname familienname zuname nom "
        "prenom nombre nombres apellido apellidos nome cognome sobrenome apelido naam voornaam achternaam imie "
        "nazwisko jmeno prijmeni fornamn efternamn navn fornavn etternavn ad soyad isim company firma entreprise "
        "empresa azienda bedrijf employer createdby updatedby modifiedby changedby handledby approvedby signedby "
        "soldby enteredby by seller",
        "lastname firstname fullname surname nachname vorname apellid prenom", numbers=False,
    ),
)  # fmt: skip

TELLING = _IDENTIFYING[1:3] + _IDENTIFYING[4:5]
"""What a table holds that is about persons: their e-mail addresses, their phones, their numbers."""
MEANINGS = (BIRTH, *_IDENTIFYING[:1], SENSITIVE, *_IDENTIFYING[1:], FREE_TEXT, AGE)
"""In the order in which they are looked for: a `billing_address_comment` is an address first."""

KEY_WORDS = words("id ids uid uuid guid oid key no nr num number code ref reference nummer numero cod")


@lru_cache(maxsize=10_000)
def words_of(name: str) -> tuple[str, ...]:
    """The words of a name, folded; as (ship, postal, code)."""
    plain = unicodedata.normalize("NFKD", name.translate(_LETTERS))
    return tuple(
        word.lower() for word in _WORD.findall("".join(char for char in plain if not unicodedata.combining(char)))
    )


def meaning_of(name: str) -> Meaning | None:
    """What a column of this name holds; None: its name does not tell."""
    single = words_of(name)
    looked_up = {*single, *(first + second for first, second in pairwise(single))}
    for meaning in MEANINGS:
        if meaning.words & looked_up or any(part in word for part in meaning.parts for word in looked_up):
            return meaning
    return None


def of_persons(columns: Iterable[str]) -> bool:
    """Whether a table with these columns is one of persons: of a person it holds more than a name."""
    return any(meaning is BIRTH or meaning in TELLING for meaning in map(meaning_of, columns))


def key_like(name: str) -> bool:
    """Whether a name ends as those of keys do: `order_no`, `CustomerId`."""
    return any(word in KEY_WORDS for word in words_of(name)[-1:])


def stem_of(name: str) -> str:
    """What a key's name is the key of: `customer` for `CustomerId`; empty for `id`."""
    found = words_of(name)
    return "_".join(found[:-1] if key_like(name) else found)
