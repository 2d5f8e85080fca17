package pseudonym

import "strings"

// everyday reports whether a word that people are called by is one of every day as well: in small letters it is taken for that. It holds
// what names share with the words of English, German, French and Spanish, particles and titles, and what companies put behind names.
func everyday(word string) bool { return strings.Contains(everydayWords, " "+word+" ") }

const everydayWords = "" +
	" able about abu account accounts acker admin after again agent alegre alma also alt always amado america april around asia august austria autumn bach" +
	" back baker bank banks bauer baum because been before being bell bello ben berg berlin best between bill bills bin bint bird bishop bisschen black" +
	" blanc blau blue blum bob bois bon bond bonne book booth both bots boucher boulanger braun bravo breit brewer bridge bright brook brown brun bueno" +
	" burg busch bush butler call calle came campo carpenter carter casa case castillo chance chase chat chef chuck church clay close cloud come company" +
	" compliance consultant contact controller cook cooke cooper corp could court cross cruz customer dale das dawn dean degli del delgado della delle dem" +
	" den department der des desk deux dick digital director doctor does done dos doux down drew drum dubois duke dupont each early east engel engineering" +
	" england english ernst europe even every example executive extern external faith farmer faure fein feld fest field fields file finance find firm first" +
	" fisch fish fisher flores flower flowers ford forest fort founder fox france franco frank franz frau free frei french freund friday from fromm frost" +
	" fuchs fuerte gabel gallo game garde gardener gate gates gene gentil gerade germany gern give global gmbh gold golden gone good gott grace gracia graf" +
	" grand grant gray great green grey gris gross grosse group grove grun guerra guest haas hahn hall hammer hand hardy harry hart haus have hazel head" +
	" heart heather heim held help here hermoso herr herz herzog hill himmel hirsch hof hoff holding holiday holland holly holz home hood hook hope horn" +
	" house human hunt hunter hunting ibn iglesia info intern internal international into iris italy ivory jack jade jager jewel john joker joli joy joyful" +
	" july june jung junge junior just kaiser kalt kaufmann keen keep keller king kings klar klein klug knight know koch konig kraft kranz kraus krieg kurz" +
	" lady lake lamb land lane lang lange last laut law leal leblanc legal legrand leicht leon lieb like lily limited list little london long look lord" +
	" love lovely low luna lustig luz madame made mail major make management manager manly mann many mar marchand mark market marketing marks marsh martin" +
	" mason maurer mayor mays mean meet mehl mercier mercy merit merry mild mill miller mine miss mobile molina monday monsieur mood moon moore more moreno" +
	" morning moss most moth moulin mount much music must mutter name need neu neuf neumann never next nice nick nieves night noble noir noon norm north" +
	" nuss ober office olive only open operations over page painter paris park parks part partner pastor pat patience patron paz peace pearl penny people" +
	" pepper petit phone pierce pike pilar pink pino place please point pont pool poor pope porter post potter pound power powers prado price pride prime" +
	" prince private prof professor queen quick rain ransom ray read recht reed reich reiter research resources reyes rice rich richter rico ring risk" +
	" ritter river rivers road rob robin roche rock rojo room rose roth rouge roux rowing roy rubio ruby rund rush rusty sage said saint sales sally salt" +
	" same san sand sands sandy sankt santa santos sauer savage schafer schmidt schnell schon school schreiber schuster schwarz security send senior senor" +
	" senora service services sharp shepherd shield ship short should show sierra silver singer sir small smith snow sol some sommer song sonntag south" +
	" spain spark sparks speed spring staff stage star stark steel steep stein stern stew stolz stone storm strange street strong student style sue summer" +
	" sunday sunny support sure suss swan sweet swift switzerland system tag tailor take talk taylor team technical teddy tell temple ten ter terry test" +
	" teufel than thank thanks that their them then there these they thing think this tiger time today tom tomorrow tony torre torres town trader trading" +
	" treasury trip true turner under until user vale van vater vega verde verity vert very victory vida vide view vigne ville vogel voll vom von vrai wade" +
	" wagner wait wald walk walker wall walls want ward warren wasser water waters watt watts weather weaver weber week weise weiss well wells were west" +
	" what wheat wheel when where which while white wild will wills wind winds wine wing winner winter wirt wise wish with without wolf wood woods wool" +
	" word work worth worthy would wunder yard year yesterday york young your zimmer zum zur zurich" + " "
