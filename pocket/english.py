"""The world in English, and the words of all that is told in it."""

from __future__ import annotations

from functools import cache

from pocket.examples import generator, words
from pocket.world import Entity, Relation, World, draw_values

__all__ = ["COMMON", "NAMES", "OBJECTS", "english"]

_N_PEOPLE, _N_TOWNS = 450, 120

_TRADES = words(
    "baker weaver smith miller potter fisher hunter tailor mason carpenter gardener shepherd "
    "sailor painter singer doctor teacher cook glazier cooper tanner brewer clerk ferryman"
)
_ANIMALS = words(
    "goat dog cat horse donkey goose duck hen sheep cow rabbit parrot owl crow pony ferret mule "
    "turtle swan pigeon hawk lizard hedgehog otter"
)
_FOODS = words(
    "bread soup rice honey cheese plums beans fish apples pears nuts cake porridge cabbage onions "
    "figs grapes mushrooms pumpkin butter eggs carrots dates melons"
)
_COLOURS = words(
    "red blue green yellow brown black white grey purple orange pink golden silver crimson violet "
    "amber"
)
_INSTRUMENTS = words(
    "flute drum harp fiddle horn lute bell whistle trumpet organ pipe zither cymbal guitar"
)
_RIVERS = words("Ald Bren Cuss Dorm Esk Firl Gwen Harr Isk Jarl Kell Lorn Mawe Nidd Oss Purl")
_CROPS = words("wheat barley flax hops maize oats rye peas clover turnips lentils cotton tea")
_FEASTS = words(
    "January February March April May June July August September October November December"
)
_FAME = words("bridges clocks kites ropes candles boats lamps carpets knives hats masks pots")

OBJECTS = words(
    "lantern rope kettle ladder blanket basket hammer mirror compass bottle candle drum saddle "
    "shovel needle wheel coin map book ring crown sword shield helmet letter flag box key cup "
    "plate spoon knife brush feather shell stone chain anchor barrel bucket broom pillow carpet "
    "scarf coat boot glove hat whistle clock"
)


def _invented_names(count: int, ends: tuple[str, ...], seed: str) -> list[str]:
    rng = generator(seed)
    found: list[str] = []
    while len(found) < count:
        name = (
            rng.choice(words("B C D F G H K L M N P R S T V Z Br Dr Tr"))
            + rng.choice("aeiou")
            + rng.choice(words("b d l m n r s t v nd lm rt"))
            + rng.choice(ends)
        )
        if name not in found:
            found.append(name)
    return found


NAMES = _invented_names(_N_PEOPLE, ("a", "en", "o", "el", "is", "an", "ic", "u"), "people")
COMMON = NAMES[:64]
"""Those who occur in stories and problems too."""
_TOWNS = _invented_names(_N_TOWNS, ("ford", "burg", "ham", "wick", "dale", "mouth"), "towns")

_PEOPLE_RELATIONS = (
    Relation(
        "home",
        tuple(_TOWNS),
        ("Where does {} live?", "In which town is {} at home?", "What is the home town of {}?",
         "Which town does {} live in?", "Where is the house of {}?"),
        ("{} lives in {value}.", "{} is at home in {value}.", "The house of {} is in {value}."),
    ),
    Relation(
        "trade",
        tuple(_TRADES),
        ("What is the trade of {}?", "What does {} work as?", "How does {} earn a living?",
         "Which trade does {} have?", "What is {} by trade?"),
        ("{} works as a {value}.", "{} is a {value} by trade.", "The trade of {} is {value}."),
    ),
    Relation(
        "animal",
        tuple(_ANIMALS),
        ("Which animal does {} keep?", "What animal has {} at home?", "What pet does {} have?",
         "Which animal belongs to {}?", "What kind of animal does {} own?"),
        ("{} keeps a {value}.", "{} owns a {value}.", "The animal of {} is a {value}."),
    ),
    Relation(
        "food",
        tuple(_FOODS),
        ("What does {} like to eat?", "What is the favourite food of {}?",
         "Which food does {} like best?", "What does {} eat most?", "What would {} eat?"),
        ("{} likes to eat {value}.", "The favourite food of {} is {value}.",
         "{} eats a lot of {value}."),
    ),
    Relation(
        "instrument",
        tuple(_INSTRUMENTS),
        ("What instrument does {} play?", "Which instrument is played by {}?",
         "What can {} play?", "On which instrument does {} play?",
         "What does {} play in the evening?"),
        ("{} plays the {value}.", "In the evening {} plays the {value}.",
         "The instrument of {} is the {value}."),
    ),
)  # fmt: skip

_TOWN_RELATIONS = (
    Relation(
        "river",
        tuple(_RIVERS),
        ("Which river runs through {}?", "On which river is {}?", "What is the river of {} called?",
         "Which river does {} stand on?", "What river flows through {}?"),
        ("The river {value} runs through {}.", "{} stands on the river {value}.",
         "The river of {} is called {value}."),
    ),
    Relation(
        "crop",
        tuple(_CROPS),
        ("What is grown near {}?", "Which crop do the farmers of {} grow?",
         "What grows in the fields of {}?", "What do the fields around {} bear?",
         "What crop comes from {}?"),
        ("The farmers of {} grow {value}.", "The fields around {} bear {value}.",
         "Near {} they grow {value}."),
    ),
    Relation(
        "feast",
        tuple(_FEASTS),
        ("In which month is the feast of {}?", "When does {} hold its feast?",
         "What month is the feast of {} in?", "In what month do they feast in {}?",
         "Which is the month of the feast of {}?"),
        ("The feast of {} is in {value}.", "{} holds its feast in {value}.",
         "They feast in {} in {value}."),
    ),
    Relation(
        "fame",
        tuple(_FAME),
        ("What is {} famous for?", "What do people buy in {}?", "What is made in {}?",
         "For what is {} known?", "What do the workshops of {} make?"),
        ("{} is famous for its {value}.", "The workshops of {} make {value}.",
         "In {} people buy {value}."),
    ),
)  # fmt: skip


@cache
def english() -> World:
    """The world in English."""
    rng = generator("facts")
    people = tuple(Entity(name, draw_values(rng, _PEOPLE_RELATIONS)) for name in NAMES)
    towns = tuple(Entity(name, draw_values(rng, _TOWN_RELATIONS)) for name in _TOWNS)
    return World(
        ((people, _PEOPLE_RELATIONS), (towns, _TOWN_RELATIONS)),
        "These are questions about people and towns.\n\n",
        "Question: {}\nAnswer:",
        " ",
    )
