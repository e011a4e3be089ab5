"""Words of ordinary English that are also names: alone they name nobody, only as part of a full name.

What belongs here: the list. What does not: grammar; spaCy's own stop words, days and months are added where it is used.
"""

from __future__ import annotations

from functools import lru_cache

ALSO_NAMES = """
abbey able account ace address adobe agent ally amber amount angel apple april art ash aspen august autumn baker ball
bank banks barber barn bass bay bean bell berry best bill bird bishop black blake blanch blaze block bloom blue bond
bonny booth bot bow bowman box boy branch brand bridge bright brown buck bull burn bush butcher buy call can candy
cane card carol carpenter case cash chance chandler change chase cherry chip chuck church city claim clay clean clear
clerk cliff close clover coffee coin colt come cook coral corn cotton count court craft crane credit crisp cross
crystal curry customer daisy dallas dandy data date dawn day days deal dean dear december delivery department desk
diamond dill don door dove drew dusty earl early east easter easy echo eden email ember error eve even ever expiration
faith fancy farewell farmer february fern field fish flint flower fly ford forest fox france francs frank freed friday
frost garden gay gene gentle germany gift gill glad glass glen glory gold golden good goods grace grant gray great
green grey grove guest guy hall ham hand happy hardy harmony hawk hay head heath heaven hello help herb hey hill
holiday holly home honey honor hood hope horn house hunt hyacinth ice id information invoice iris iron item ivory ivy
january jasmine jet jewel job jockey joy judge july june just justice keen key king knight lace lad lake lamb lance
land lane lark last laurel law leaf lee lemon lent letter liberty light link list little load lock long lord lot love
low luck lucky lyric maiden mail major man manager march marine mark market marsh master max may maze me mead mercy
merit merry message mile miles mill mint miss mister monday money monk moon moore moss mound mouse name new nice night
noble noon north november number oak ocean october office olive onyx opal order page palm pansy parcel park password
pat patience peace peach pearl penny people pepper per person pet phone piece pierce pine place pole pool poor pope
poppy port post power pray precious price prince product promise prudence purple queen question quick quiet rain
rainbow ram rank raven ray read red reed reference refund return rich ride ridge ring rise rising river rock rocky
rolling rose rosy row royal ruby rush russet rusty sable sage sailor sand sandy saturday saturn saw scarlet school
scot sea see self senior september serenity service shade shell shepherd sheriff shields shop shore short sierra
silver singer sir sister site sky smart snow son song south spark spear speed spring stage star state statement steel
stern stock stone store storm story street strong su sue sugar summer sun sunday sunny sure sweet swift system tab
tailor tan tanner teal team thanks thorn thorne thursday ticket tiger timber time today tomorrow top town trace true
trust tuesday turn tweed user usher van victory vine viola violet wall walls ward warden ware warm warren water waters
way web website wednesday week weekend weeks welcome well wells west wheat white wick wide wild will willow wills win
winter winters wise wish wolf wood woods word work world worth wren wright yard yarn year yes yesterday york young
"""


@lru_cache(maxsize=1)
def ordinary_words() -> frozenset[str]:
    """Return the folded words that name nobody by themselves."""
    from spacy.lang.en.stop_words import STOP_WORDS

    return frozenset(ALSO_NAMES.split()) | frozenset(word.replace("'", "") for word in STOP_WORDS)
