// what Sphinx's search counts: what the glossary explains comes first, a name of the API that contains the words last
var Scorer = {
  score: ([page, , , , score, , kind]) => score + (kind === "index" && page === "glossary" ? 1 : 0),
  objNameMatch: 14, objPartialMatch: 1, objPrio: {0: 2, 1: 2, 2: -5}, objPrioDefault: 0,
  title: 15, partialTitle: 7, term: 5, partialTerm: 2,
};
