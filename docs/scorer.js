// what Sphinx's search counts: what the glossary explains comes first, and a name of the API that only contains the words comes last
var Scorer = {
  score: ([page, title, anchor, about, score, file, kind]) => score + (kind === "index" && page === "glossary" ? 1 : 0),
  objNameMatch: 14, objPartialMatch: 1, objPrio: {0: 2, 1: 2, 2: -5}, objPrioDefault: 0,
  title: 15, partialTitle: 7, term: 5, partialTerm: 2,
};
