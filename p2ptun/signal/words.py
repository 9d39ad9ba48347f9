"""The words of a code: 2,048 of them, 11 bits each, chosen to be read aloud, heard, spelt and typed by anybody.

They have 3 to 8 letters of a to z, and none is the beginning of another. The first four letters of each (or all three)
begin no other, so four letters and TAB are enough. Few sound alike, and none is rude.

A code stands for numbers, which are places in this list. So it never changes: versions of p2ptun with different lists
wouldn't understand each other's codes.
"""

from __future__ import annotations

from typing import Final

PREFIX: Final = 4
"""So many letters name a word."""

WORDS: Final = tuple(
    """
abacus abbey ability aboard above abroad absorb academy accent account ace achieve acorn acre acrobat action actor
actual adapt address adjust admire adobe adopt adore adrift advance advent advice aerial aerosol afar affair afford
afloat after again agenda agile aglow agree ahead aim airport album alcove alert algebra align alive alley almanac
almond aloe along alpha alpine already alto alumni always amateur amazing amber ambient amend ammonite amount ample
amulet amuse anagram anchor ancient angle animal anise ankle annex annual anorak answer antler anvil any apart apex
apology apparel appear apple appoint approve april apron aqua arbor arcade arch arctic area arena aria armada armchair
aroma around array arrive arrow artist artwork ash aside ask asleep aspen aspire assist assort assume aster athlete
atlas atom atrium attach attic attract auburn audio augment august aura aurora author autumn avail avatar avenue
aviator avocado avoid await awake award away awesome awning axiom axle azalea azure baby back bacon badge bagel
baggage bagpipe bakery balance balcony ballet balm bamboo banana band banjo bank barge barley barn baron barrel barter
basil basket bassoon batch bath baton battery bay bazaar beach bead beagle beak beam bean beauty beaver because become
bedroom beef beehive beetle before begin behave behind beige being belief bell below belt bench bend beneath beret
bestow bet beyond bicycle billion binary bingo biology biplane birch bird biscuit bison bistro bite blanket blaze
blend bless blimp blink bliss block bloom blossom blouse bluebell bluff blurb blush boast boat bobbin bobcat bobsled
bolt bone bonfire bongo bonnet bonus book boom boost boot border borrow botany bottle boulder bounce bouquet bowl box
boy brace brain branch brave breeze brick bridge brief brisk broccoli bronze broom brother brown brush bubble bucket
buddy budget buffalo buggy bugle build bulb bull bumper bunch bundle bungalow bunny bureau burger burrow bush busy
butler butter buzz bylaw cabaret cabbage cabin cable caboose cackle cactus caddy cadet cafe cage cake calcium calendar
calf calico call calm calypso camel camp canal candle cane canoe canvas canyon cape capsule captain caramel carbon
card cargo caribou carnival carol carpet carve cascade case cashew cask castle catalog cattle cavalry cave cedar
celery cello cement census centaur ceramic ceremony chain chalk champion change chapter charm chat check cheddar
cheese chef chemist cherry chess chevron chicken chime chipmunk chirp chisel chive choice choose chorus chowder chrome
chuckle chunk cider cilantro cinch cinema cinnamon circle citadel citizen citrus city civic claim clan clarinet class
claw clay clean clerk clever click cliff climb clinic clip cloak clock closet cloth cloud clover clown club clue
clutch coach coal coast coat cobalt cobble cobra cockpit cocoa code coffee coil coin cola collie colony column comb
comet comfort comic command compute concept condor cone confetti conifer connect contrast convoy cook cool copper copy
coral cork corn corridor cosine cosmic cotton couch cough country coupon courage cousin cover cowboy coyote crab
cracker cradle craft crane crater cravat crayon cream credit crescent crew cricket crimson crisp crocus crop cross
crown cruise crumpet crunch crystal cube cubic cuckoo cucumber cuddle culture cupboard cupful curator curious curl
curry cursive curtain curve cushion custom cutlery cycle cypress dad daffodil daily dainty dairy daisy dance dandy
dapper daring dart daughter dawn daylight dazzle decade decent decimal deck declare decorate dedicate define degree
delight delta denim dental depart depend deposit depth design desk detail detect detour develop device devote dewdrop
diagram dial diamond diary dice dictate diesel differ digest digit dill dime dimple dingy dinner dinosaur diorama
diploma direct disc display distant ditch dive divide dock doctor document dodge dog doll dolphin domain dome domino
donate donkey donor donut doodle door double dough dove down dozen draft dragon drama draw dream dress drift drill
drink drive drizzle drone drop drum dry ducat duchess duck duet duffel dugout duke dumpling dune duo duplex durable
durian dust duvet dwell dye dynamo eager eagle eardrum early earmuff earring earth easel easy eatery ebony echo
eclipse ecology economy eddy edge edible edict editor educate effort eggplant eggshell eight either elapse elastic
elbow elder electric elegant element elephant eleven elf elite elk ellipse elm email embark ember emblem embrace
emerald emotion employ empty emu enable enact enamel enchant enclose encore endorse endure energy engage engine
engrave enhance enigma enjoy enlarge enlist enrich enroll ensemble enter entire entry envelope enzyme epic episode
equator equip erosion escape espresso essay essence estate estuary etching eternal ethics evening everyone evident
evolve example excerpt excite exclaim exhibit expand explore export express extent extra eyelash fable fabric face
fact faculty fairy falcon fame family fantasy farewell farm fashion fast father faucet feast feather federal fedora
feel fence ferry festival fetch fiction fiddle field fiesta fifty figure filament film filter final finch find fine
finger firefly first fish fitness fix fjord flag flamingo flannel flap flash flat fleet flight flint flip float flock
floor flotilla flower fluent fluffy flurry flute foam focus fog foil folder foliage folk follow foot force forest fork
formal fortress forum forward fossil fountain four foxglove frame frankly freckle freedom freight fresh fridge friend
frog frolic frost frozen fruit fudge fuel full fund funnel furnish furrow future fuzzy gadget galaxy gallery game
garage garden garlic garment gather gauge gauze gavel gazelle gecko gelatin gem general genius gentle genuine geranium
gerbil gesture giant gift giggle ginger ginseng giraffe gizmo glacier glad glance glaze gleam glide glimpse glitter
globe glory gloss glove glue gnome gnu goal goat goblet goggle gold golf gondola good goose gopher gorge gourmet
govern grab grace graduate grain gram grand grape gravy green grocery groom grotto ground grow guard guava guide guild
guinea guitar gumdrop gusto habit haddock hair half halibut hall halo hamlet hammer hamster hand happy harness harp
harvest haste hatch haven hawk hay hazel heap heat hedge helium hello helmet hen herald herb hermit hero herring
hexagon hidden hiking hill hinge hint hippo history hive hobby hockey hoist holiday holly home honey honk hood hoof
hook hoop hope hopper horizon horn hotel hound hour house howl huge humble humid hundred hurdle husky hybrid hydrant
hyphen iceberg icicle icing ideal igloo ignite iguana image imitate impact impress include index indigo indoor infant
inform initial ink inlay inlet inn input inquire insect inside install intact invest invite inward iodine iris iron
italic itself ivory jacket jade jaguar janitor january jar jasmine java javelin jawbone jazz jelly jersey jet jewel
jigsaw jingle job join joke jolly jostle journey jovial joy jubilee judo juggle juice jumbo jumper junction jungle
junior kale kangaroo karate kayak kelp kennel kernel ketchup kettle keyboard kilo kimono kind king kinship kiosk
kitchen kite kitten kiwi knapsack knee knife knit knob knock knuckle koala label lace ladder ladle lagoon lake lamb
lamp land lane lantern laptop larch lasagna laser lasso latitude laugh laundry laurel lava lavender layer leader leaf
league learn leather lecture ledge legacy legend legume lemon length lens lentil leopard lesson letter level liberty
library lichen lifeboat lift light lilac lily limb lime limit linden linen linger lion liquid list litmus litter
lizard llama loaf lobster locate locker lodge loft log longest lookout loom loop lotion lotus lounge loyal lozenge
lucky lullaby lumber lunar lunch luxury lychee lyric macaroni machine maestro magenta magic magnet magpie mahogany
mail mallet mammoth manage mango manor mansion manual maple marathon marble margin marigold market maroon mascot mask
mason master match mauve maximum may maze meadow mechanic media mellow melon memory menu merit mermaid merry mesh
method metro micro midnight mighty mile milk millet mimic mineral mint minute mirror mission mitten mix mobile mocha
modern module molar moment money monitor monsoon month monument moon moose morning morsel mosaic moss motel mother
motor mountain mouse movie muesli muffin mulberry mumble museum mushroom music mustard myself mystery myth nail name
napkin narrow native nature neatly nebula neck nectar needle neon nephew nerve nest network neutron never niche nickel
night nimble ninety noble noodle noon north note notice novel nozzle nuance nucleus nugget number numeral nurse nutmeg
nuzzle nylon oak oasis oat object oblong oboe observe occur octagon october offer office offset often oil okra olive
omega omelet onion onset onyx opal open opera opinion option oracle orange orbit orchard oregano organic orient origin
osprey ostrich otter outdoor outfit outlet ovation oven overall owl owner oxbow oxygen oyster ozone pacific package
paddle page pagoda paint pamphlet pancake panda pantry papaya paper paprika parade parcel park parrot partner passage
pasta patch path patio patrol pattern pause peach peak peanut pebble pecan peel peg pelican pencil penguin people
pepper perfect person petal petunia pharmacy phoenix phone photo phrase physics piano piccolo pick picnic picture
piece pilgrim pillow pilot pinch pine pink pint pioneer pipe pirate pitcher pivot pixel pizza place planet plastic
plate play plaza pledge plenty plot pluck plum plywood pocket podium poem poet polite polka poncho pond pony pool
popcorn poppy popular porch porridge port position postcard potato pottery pouch pound powder power present primary
prince prism private prize problem process produce profile program project promise proper protein proud proverb prune
public pudding pumpkin pupil puppet purple puzzle pyramid python quail quality quantum quarter queen question quick
quiet quilt quince quiz quota rabbit raccoon race racket radar radio raft ragtime rail rain raisin ramble ramp ranch
random rapid rattle raven razor react ready rebound recall recipe recline recover recruit red reed reef referee refill
reflect refresh refuge region reign rejoice relay relish remind remote renew repair reply request rescue resort
respond restore result return reunion reveal review reward rewrite rhino rhubarb ribbon rice rich riddle ride ridge
right rigid ripple ritual river road roam roast robe robin robot robust rock rodeo roll romance roof room rooster rope
rose roster rotate rotor route rowboat royal rubber rubric ruby rudder ruffle rug ruler rumba runway rural rust rye
sable saddle safari saffron sage sailor salad salmon salsa salt salute sample sand sapphire satin saturn saucer sauna
sausage savanna scallop scarf scatter scheme school science scissors scone scoop scout scrap screen script scroll
scrub scuba sculptor search season seat second secret section sedan seed segment select sense series sesame seven
shadow shallow shampoo shape shawl sheep shell sherbet shield shift shimmer ship shirt shoe shop shore shovel shower
shrimp shrug shuffle shuttle side siding sierra siesta sign silent silicon silk silver simple sister six sizzle skate
sketch ski skunk sky slalom slate sled sleeve slide sliver slogan slope sloth small smile smoke smooth snack snail
snap sneeze snooze snore snow snug soap soccer social soda sofa solar solo sonar song sonnet soot soprano sorbet soup
source south soy spark spatula spectrum sphere spice spider spiral splash spoke sponge spoon sport spot spray spring
sprout spruce square squid stable stack stairs stamp staple star steam stem stir stitch stock stone story stove straw
street string stroll studio sturdy subway suffix sugar suit sultana summer sunny super supply survey sushi swallow
swan sweet swim switch swivel sycamore syllable symbol symphony system tabby table tackle taco tactic tadpole taffy
tailor talent tandem tango tank tape target tart tassel tavern team teapot teddy tenant tender tennis tent terrace
test textile thanks theory thicket thimble thirty thistle thread thumb thunder tiara ticket tidal tidy tiger tile
timber tinsel tiny tiptoe tissue titan title toad toast today toffee tofu together toggle tomato tomorrow tool tooth
topaz topic torch tortoise toss toucan tour towel train tram trapeze travel tray treasure tree trek tricycle trinket
trip triumph trivia trolley trombone troop trophy trout trowel truck tube tulip tuna tundra tune tunnel turf turkey
turnip turtle tweed twelve twenty twice twilight ukulele umbrella umpire uncle uncover unfold unicorn uniform unit
universe unlock unpack unwrap update uphill upkeep upload upside uptown upward useful utmost valley valve vanilla
varnish vase vault vector vehicle veil velocity velvet vendor venue veranda vessel vest veteran viaduct victory video
view village vine vintage vinyl violin vision visual vitamin voice volcano volume vortex voyage vulture waddle wade
wafer waffle wagon walkway wall walnut walrus waltz wand warble watch water wave weather wedding wedge week west whale
wharf wheat wheel while whisper white whole wick wide width wiggle wigwam wild willow wind wing wink winter wisdom
wish wizard wobble wolf wombat wonder wood wool worm worthy wrap wreath wren wrist xenon yacht yard yarn yawn year
yeast yellow yodel yoga yogurt yolk yoyo zebra zenith zephyr zero zigzag zinc zinnia zipper zodiac zone zoology zoom
zucchini
""".split()  # noqa: SIM905 - as a list of literals it would be unreadable
)
"""In alphabetical order."""
