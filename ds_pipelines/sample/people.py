"""People who do not exist.

What belongs here: names, addresses and numbers of invented persons, drawn whole columns at a time. What does not: what
they buy or write.

No contact detail can reach anybody: e-mail addresses are under domains reserved for examples, telephone numbers in
the ranges that Ofcom reserves for drama, national ids have prefixes that are never allocated, and card numbers start
with digits of no issuer. Telephone numbers repeat in large shops, because those ranges are small.
"""

import unicodedata
from datetime import date

import numpy as np
import numpy.typing as npt
import polars as pl


def _words(text: str, *more: str) -> list[str]:
    """The words of a text, and further ones that have spaces in them."""
    return [*text.split(), *more]


GIVEN_NAMES = _words("""
    Aaliyah Aaron Abigail Adaeze Adam Adrián Agnieszka Ahmed Aïcha Aidan Aisha Alan Alejandra Alexander Alfie Alice
    Alicja Amara Amelia Amit Ana-María Anaïs Andrew Aneta Angela Anjali Ann-Marie Anna Annika Anthony Antonio Anya
    Arjun Arthur Asha Astrid Aurélie Ayşe Barbara Bartosz Beatriz Ben Bethan Björn Bronwen Callum Camille Carlos
    Catherine Catriona Cecília Céline Charlotte Chidi Chinedu Chloë Christopher Ciarán Claire Clémence Connor Craig
    Dafydd Daniel Daniela Darren David Deborah Declan Diana Dimitra Dmitri Dorota Edward Eilidh Eleanor Elif Elizabeth
    Emeka Emily Emma Erik Esther Ethan Eva-Lena Ewa Farah Fatima Femi Fergus Fiona Francesca Freya Gabriela Gareth
    Gemma George Georgios Gethin Giulia Grace Graham Gwen Hannah Harriet Harry Hassan Hélène Henrik Henry Hiroshi Hope
    Hugo Ibrahim Imogen Inês Ingrid Isabelle Isla Iwona Jack Jacob Jamal James Jan Jasmin Jean-Luc Jennifer Jesús
    Joanna João John-Paul Jonas José Joseph Joyce Judith Julia Jürgen Kamil Karen Karim Karolina Katarzyna Kavita
    Keiko Keith Kenji Kerry-Ann Khadija Kieran Kirsten Kwame Kyle Lars Laura Leah Lena Léo Liam Linnéa Lorenzo Louise
    Lucía Lucy Łukasz Maeve Magdalena Mairi Małgorzata Manuel Marek Margaret Maria Marie-Claire Mark Marta Martin
    Mary-Jane Mateusz Matthew Maya Mehmet Mei Michael Mihai Miguel Mohammed Mónica Muhammad Nadia Naomi Natalie Nia
    Niamh Nicholas Nicole Nikolai Nina Noah Noémie Nuria Olga Oliver Olivia Oluwaseun Omar Owen Pádraig Parveen
    Patricia Paul Pedro Peter Phoebe Piotr Prakash Priya Rachel Rahul Raquel Rebecca René Rhiannon Richard Robert
    Róisín Rosa Rose Rubén Ruth Ryan Saoirse Samira Samuel Sandra Sanjay Sarah Sean Sebastian Seren Sergio Shabnam
    Shanice Sian Simon Siobhán Sofía Søren Sophie Stefan Stephen Sunita Susan Tamsin Tariq Tatiana Teresa Thandiwe
    Thomas Tomasz Tunde Uchenna Valentina Vanessa Veronica Victoria Vikram Wanjiru Wei Wendy Will William Xavier
    Xin-Yi Yasmin Yusuf Yvonne Zahra Zainab Zoë Zofia
""")

FAMILY_NAMES = _words("""
    Abbott Abdullah Abebe Acheampong Adams Adebayo Adeyemi Agarwal Ahmed Akhtar Ali Allen Almeida Álvarez Amin
    Andersson Andrews Antoniou Appiah Armstrong Arslan Asante Ashworth Atkinson Ayodele Bailey Baptiste Barbosa Barnes
    Barrett Bauer Bąk Becker Begum Bennett Berger Bernard Bianchi Bielak Błaszczyk Booth Bradley Brennan Brown Bryant
    Burke Byrne Çelik Callaghan Cameron Campbell Carmichael Carvalho Chatterjee Chaudhry Chen Chowdhury Christou Clarke
    Coleman Collins Connolly Cooper Corrigan Costa Cunningham Czarnecki Dąbrowska Dahl Davidson Davies Dawson Delgado
    Demir Desai Diallo Díaz Dixon Doherty Donnelly Doyle Drummond Dubois Duffy Duncan Dupont Edwards Egan Ekström Eze
    Ellis Elliott Eriksen Evans Farrell Faulkner Fernandes Ferrari Fischer Fitzgerald Fleming Forsyth Fournier Francis
    Fraser Friedrich Gallagher García Garner Georgiou Ghosh Gibson Gómez González Graham Grant Greenwood Griffiths
    Grześkowiak Guerrero Gunawardena Gupta Gustafsson Gutiérrez Haas Hagen Haider Hamilton Hansen Hargreaves Harris
    Hartley Hassan Haughey Hayes Hernández Hoang Hoffmann Holmes Horváth Hossain Howard Huang Hughes Humphreys Hussain
    Ibrahim Igwe Iqbal Ismail Ivanova Iwu Jabłońska Jackson Jansen Jenkins Jensen Jiménez Johansson Johnson Johnston
    Jones Joshi Juárez Kamara Kaminska Kapoor Karlsson Kaur Kavanagh Kaya Keane Kelly Kennedy Khalil Khan
    Kimura Kowalczyk Kowalska Kowalski Kozłowska Krüger Kumar Kwiatkowska Lambert Larsen Laurent Lawrence Leclerc Lee
    Lefèvre Lehmann Lenihan Levy Lewis Lindqvist Llewellyn Lópes López Lowe Lungu Lynch Macdonald Mackenzie
    Mahmood Malik Marchetti Marino Markovic Marques Marsh Martin Martínez Mazur McAllister McCarthy McDermott McGregor
    McKenna McLaughlin Mehta Mendes Mensah Meyer Mitchell Moore Morales Moreau Moreno Morgan Morris Morrison Moyo
    Müller Mukherjee Munro Murphy Murray Mwangi Nakamura Navarro Ncube Ndlovu Németh Newman Nguyen Nikolaidis Nilsson
    Novák Nowak Núñez Nwosu Nyström Obi Ogunleye Oliveira Olsen Okafor Okonkwo Oliver Öztürk Osei Owusu Palmer
    Papadopoulos Parker Parry Patel Pawlak Pearson Pereira Pérez Petersen Petrova Phillips Piątek Popescu Powell Prakash
    Price Pritchard Quinn Qureshi Rahman Raman Ramírez Ramos Rasmussen Reddy Reid Reilly Reyes Reynolds Ricci Richter
    Rivera Roberts Robinson Rodrigues Rogers Romano Ross Rossi Rousseau Roux Rutkowska Ryan Sánchez Saleh Salvador
    Santos Schäfer Schmidt Schneider Schröder Scott Shah Sharma Shaw Sheehan Siddiqui Silva Simpson Singh Sinclair Šimić
    Smith Sørensen Soto Spencer Stewart Stokes Suleiman Sutherland Suzuki Svensson Szabó Szymańska Takahashi Tanaka
    Taylor Tembo Thapa Thomas Thompson Torres Tran Tremblay Tudor Turner Vargas Vasquez Vaughan Virtanen Vogel Wagner
    Walker Wallace Walsh Wang Ward Watson Weber White Whitehead Wieczorek Williams Williamson Wilson Winter Wiśniewska
    Wójcik Wong Wright Yamamoto Yılmaz Young Yusuf Zając Zhang Zhou Zieliński Zimmermann
""",
    "O'Brien", "O'Connor", "O'Sullivan", "Ó Briain", "da Silva", "de Souza", "de la Cruz", "van der Berg", "van Dijk",
    "von Arnim", "St John", "Le Goff", "Ben Youssef", "El Amrani", "al-Hashimi", "ap Rhys",
)  # fmt: skip

EMAIL_DOMAINS = (
    "example.com", "example.org", "example.net", "mail.example.com", "post.example.org", "home.example.net",
    "inbox.example.com", "letters.example.org",
)  # fmt: skip

STREET_NAMES = _words(
    """
    Abbey Acacia Albert Alma Ashfield Balmoral Beech Belgrave Birchwood Bramble Bridge Brook Cambridge Castle Cavendish
    Cedar Chapel Chestnut Clarence Clifton Coppice Derwent Elmfield Fairview Farrier Foundry Gladstone Grange Harbour
    Hawthorn Hazel Heathfield Highfield Holly Juniper Kestrel Kingsley Laburnum Lancaster Larch Linden Mafeking Manor
    Maple Marlborough Meadow Mill Nelson Nightingale Oakfield Orchard Park Priory Quarry Rectory Riverside Rowan
    Sandringham Spring Sycamore Tanner Tennyson Trinity Victoria Walnut Waterloo Wellington Westbourne
    Willow Windmill Wordsworth
""",
    "St Andrew's",
)
STREET_KINDS = ("Road", "Street", "Avenue", "Lane", "Close", "Drive", "Terrace", "Gardens", "Crescent", "Way")

HOME = "United Kingdom"
TOWNS = (
    ("London", "SE"), ("London", "NW"), ("London", "E"), ("London", "SW"), ("London", "N"), ("London", "W"),
    ("Birmingham", "B"), ("Manchester", "M"), ("Leeds", "LS"), ("Glasgow", "G"), ("Sheffield", "S"), ("Bristol", "BS"),
    ("Liverpool", "L"), ("Edinburgh", "EH"), ("Cardiff", "CF"), ("Belfast", "BT"), ("Nottingham", "NG"),
    ("Leicester", "LE"), ("Newcastle upon Tyne", "NE"), ("York", "YO"), ("Norwich", "NR"), ("Brighton", "BN"),
    ("Oxford", "OX"), ("Cambridge", "CB"), ("Exeter", "EX"), ("Plymouth", "PL"), ("Reading", "RG"),
    ("Southampton", "SO"), ("Coventry", "CV"), ("Derby", "DE"), ("Hull", "HU"), ("Dundee", "DD"), ("Aberdeen", "AB"),
    ("Swansea", "SA"), ("Bath", "BA"), ("Durham", "DH"), ("Truro", "TR"), ("Shrewsbury", "SY"), ("Carlisle", "CA"),
)  # fmt: skip
"""Towns of the United Kingdom with the letters that their postcodes start with."""

TOWNS_ABROAD = {
    "Australia": ("Sydney", "Melbourne"), "Austria": ("Wien", "Graz"), "Belgium": ("Antwerpen", "Liège"),
    "Canada": ("Toronto", "Montréal"), "Channel Islands": ("St Helier", "St Peter Port"), "Cyprus": ("Nicosia",),
    "Denmark": ("København", "Aarhus"), "EIRE": ("Dublin", "Cork", "Galway"), "Finland": ("Helsinki", "Turku"),
    "France": ("Paris", "Lyon", "Nantes"), "Germany": ("Berlin", "Köln", "München"), "Greece": ("Athens",),
    "Iceland": ("Reykjavík",), "Ireland": ("Dublin", "Cork", "Galway"), "Israel": ("Haifa",),
    "Italy": ("Milano", "Torino"), "Japan": ("Osaka", "Tokyo"), "Malta": ("Valletta",),
    "Netherlands": ("Amsterdam", "Utrecht"), "Norway": ("Oslo", "Bergen"), "Poland": ("Kraków", "Łódź"),
    "Portugal": ("Lisboa", "Porto"), "Spain": ("Madrid", "Sevilla", "Bilbao"), "Sweden": ("Stockholm", "Malmö"),
    "Switzerland": ("Zürich", "Genève"), "USA": ("Boston", "Portland"),
}  # fmt: skip
TOWNS_ELSEWHERE = ("Northport", "Eastbridge", "Newhaven")

TELEPHONE_RANGES = (
    ("07700", "900"), ("07700", "900"), ("07700", "900"), ("07700", "900"), ("01632", "960"), ("0113", "496 0"),
    ("0114", "496 0"), ("0115", "496 0"), ("0116", "496 0"), ("0117", "496 0"), ("0118", "496 0"), ("0121", "496 0"),
    ("0131", "496 0"), ("0141", "496 0"), ("0151", "496 0"), ("0161", "496 0"), ("020", "7946 0"), ("0191", "498 0"),
    ("028", "9649 6"), ("029", "2018 0"), ("03069", "990"),
)  # fmt: skip
"""Area code and start of the number; three digits are missing. From Ofcom's list of numbers for use in drama."""

NATIONAL_ID_PREFIXES = ("QQ", "BG", "GB", "KN", "NK", "NT", "TN", "ZZ")
CARD_PREFIX = "9999"

_PLAIN = str.maketrans({"ł": "l", "Ł": "L", "ø": "o", "Ø": "O", "ı": "i", "ß": "ss", "đ": "d", "æ": "ae"})

Integers = npt.NDArray[np.int64]


def plain(name: str) -> str:
    """A name as a keyboard without diacritics writes it."""
    decomposed = unicodedata.normalize("NFKD", name.translate(_PLAIN))
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def invent(rng: np.random.Generator, countries: pl.Series, *, on: date) -> pl.DataFrame:
    """One person for each country named, an adult on the given day.

    Full names do not repeat before every pairing of a given with a family name has been used (about 100,000), and
    are double-barrelled from then on. E-mail addresses and national ids never repeat.

    Returns:
        Columns `full_name`, `email`, `phone`, `street`, `postcode`, `city`, `country`, `birth_date`, `national_id`,
        `card_digits`; a row for each of `countries`, in their order.
    """
    people = len(countries)
    given, family, second = _names(rng, people)
    born = np.datetime64(on, "D") - rng.integers(18 * 366, 85 * 365, people)
    names = pl.DataFrame(
        {
            "given": _pick(GIVEN_NAMES, given),
            "family": _pick(FAMILY_NAMES, family),
            "second": _pick(["", *(f"-{name}" for name in FAMILY_NAMES)], second),
            "plain_given": _pick([_handle(name) for name in GIVEN_NAMES], given),
            "plain_family": _pick([_handle(name) for name in FAMILY_NAMES], family),
            "initial": _pick([_handle(name)[0] for name in GIVEN_NAMES], given),
            "style": rng.integers(0, 4, people),
            "domain": _pick(EMAIL_DOMAINS, rng.integers(0, len(EMAIL_DOMAINS), people)),
            "birth_date": born,
        }
    )
    return names.select(
        pl.concat_str("given", pl.lit(" "), "family", "second").alias("full_name"),
        _email().alias("email"),
        _telephone(rng, people),
        *addresses(rng, countries).get_columns(),
        "birth_date",
        _national_id(rng, people),
        _card(rng, people),
    )


def addresses(rng: np.random.Generator, countries: pl.Series) -> pl.DataFrame:
    """One address for each country named: columns `street`, `postcode`, `city`, `country`."""
    count = len(countries)
    towns = [(HOME, city, letters) for city, letters in TOWNS]
    towns += [(country, city, "") for country, cities in TOWNS_ABROAD.items() for city in cities]
    elsewhere = sorted(set(countries.to_list()) - {HOME} - set(TOWNS_ABROAD))
    towns += [(country, city, "") for country in elsewhere for city in TOWNS_ELSEWHERE]
    known = pl.DataFrame(towns, schema=["country", "city", "letters"], orient="row").with_row_index("town")
    spans = known.group_by("country").agg(pl.col("town").min().alias("start"), pl.len().alias("towns"))
    wanted = pl.DataFrame({"country": countries}).join(spans, on="country", how="left", maintain_order="left")
    start, size = wanted["start"].to_numpy().astype(np.int64), wanted["towns"].to_numpy()
    town = known[start + (rng.random(count) * size).astype(np.int64)]
    letters = np.array(list("ABDEFGHJLNPQRSTUWXYZ"))
    unit = letters[rng.integers(0, len(letters), (2, count))]
    frame = pl.DataFrame(
        {
            "flat": rng.integers(-40, 9, count),
            "house": rng.integers(1, 240, count),
            "name": _pick(STREET_NAMES, rng.integers(0, len(STREET_NAMES), count)),
            "kind": _pick(STREET_KINDS, rng.integers(0, len(STREET_KINDS), count)),
            "letters": town["letters"],
            "district": rng.integers(1, 30, count),
            "sector": rng.integers(0, 10, count),
            "unit": pl.Series(unit[0]) + pl.Series(unit[1]),
            "area": rng.integers(10_000, 99_999, count),
        }
    )
    flat = pl.when(pl.col("flat") > 0).then(pl.format("Flat {}, ", "flat")).otherwise(pl.lit(""))
    british = pl.format("{}{} {}{}", "letters", "district", "sector", "unit")
    return frame.select(
        pl.concat_str(flat, pl.format("{} {} {}", "house", "name", "kind")).alias("street"),
        pl.when(pl.col("letters") == "").then(pl.col("area").cast(pl.String)).otherwise(british).alias("postcode"),
        town["city"],
        town["country"],
    )


def _names(rng: np.random.Generator, people: int) -> tuple[Integers, Integers, Integers]:
    """Indices of given and family names; of a second family name + 1, or 0 for none."""
    pairs = len(GIVEN_NAMES) * len(FAMILY_NAMES)
    order = rng.permutation(pairs)
    number = np.arange(people)
    pair, round_ = order[number % pairs], number // pairs
    given, family = pair % len(GIVEN_NAMES), pair // len(GIVEN_NAMES)
    partner = (family + rng.integers(1, len(FAMILY_NAMES), people)) % len(FAMILY_NAMES)
    # Later rounds step through partners, so that a pairing does not get the same one twice.
    partner = np.where(round_ > 0, (family + round_) % len(FAMILY_NAMES), partner)
    double = (round_ > 0) | (rng.random(people) < 0.04)
    return given, family, np.where(double, partner + 1, 0)


def _pick(words: list[str] | tuple[str, ...], index: Integers) -> pl.Series:
    return pl.Series(words, dtype=pl.String).gather(index)


def _handle(name: str) -> str:
    """The letters of a name, as an e-mail address has them."""
    return "".join(character for character in plain(name).lower() if character.isalpha() or character == "-").strip("-")


def _email() -> pl.Expr:
    year = (pl.col("birth_date").dt.year() % 100).cast(pl.String).str.zfill(2)
    local = (
        pl.when(pl.col("style") == 0).then(pl.format("{}.{}", "plain_given", "plain_family"))
        .when(pl.col("style") == 1).then(pl.format("{}{}", "initial", "plain_family"))
        .when(pl.col("style") == 2).then(pl.format("{}_{}", "plain_given", "plain_family"))
        .otherwise(pl.format("{}{}{}", "plain_given", "plain_family", year))
    )  # fmt: skip
    earlier = local.cum_count().over(local) - 1
    suffix = pl.when(earlier > 0).then(pl.format(".{}", earlier + 1)).otherwise(pl.lit(""))
    return pl.concat_str(local, suffix, pl.lit("@"), "domain")


def _telephone(rng: np.random.Generator, people: int) -> pl.Series:
    choice = rng.integers(0, len(TELEPHONE_RANGES), people)
    frame = pl.DataFrame(
        {
            "code": _pick([code for code, _ in TELEPHONE_RANGES], choice),
            "start": _pick([start for _, start in TELEPHONE_RANGES], choice),
            "end": rng.integers(0, 1000, people),
            "style": rng.integers(0, 4, people),
        }
    )
    number = pl.concat_str("start", pl.col("end").cast(pl.String).str.zfill(3))
    phone = (
        pl.when(pl.col("style") == 0).then(pl.format("+44 {} {}", pl.col("code").str.slice(1), number))
        .when((pl.col("style") == 1) & pl.col("code").str.contains("^0[12]")).then(pl.format("({}) {}", "code", number))
        .otherwise(pl.format("{} {}", "code", number))
    )  # fmt: skip
    return frame.select(phone.alias("phone")).to_series()


def _national_id(rng: np.random.Generator, people: int) -> pl.Series:
    number = rng.choice(len(NATIONAL_ID_PREFIXES) * 10**6, people, replace=False)
    digits = pl.col("number").cast(pl.String).str.zfill(6)
    frame = pl.DataFrame(
        {
            "prefix": _pick(NATIONAL_ID_PREFIXES, number // 10**6),
            "number": number % 10**6,
            "suffix": _pick(tuple("ABCD"), rng.integers(0, 4, people)),
        }
    )
    pairs = (digits.str.slice(start, 2) for start in (0, 2, 4))
    return frame.select(pl.format("{} {} {} {} {}", "prefix", *pairs, "suffix").alias("national_id")).to_series()


def _card(rng: np.random.Generator, people: int) -> pl.Series:
    """Sixteen digits whose last one makes Luhn's sum come out."""
    start = int(CARD_PREFIX) * 10**11 + rng.integers(0, 10**11, people)
    total = np.zeros(people, np.int64)
    rest = start.copy()
    for position in range(15):
        rest, digit = np.divmod(rest, 10)
        doubled = digit * 2 if position % 2 == 0 else digit
        total += np.where(doubled > 9, doubled - 9, doubled)
    return pl.Series("card_digits", start * 10 + (-total) % 10).cast(pl.String)
