// What emotion_ser/shift.py and RobustHead.forward do: recordings of one source, nobody says what they express, tell where it lies.
const TURNS = 15, ONE_SIDED = [0.3, 0.42], FEW = 3, MANY = 5, MOSTLY = 0.6;

const dot = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);
const times = (matrix, vector) => matrix.map((row) => dot(row, vector));
const transposed = (matrix) => matrix[0].map((_, j) => matrix.map((row) => row[j]));
const product = (a, b) => { const columns = transposed(b); return a.map((row) => times(columns, row)); };
const plus = (a, b, factor = 1) => a.map((x, i) => x + factor * b[i]);
const plusMatrix = (a, b, factor = 1) => a.map((row, i) => plus(row, b[i], factor));
const total = (rows) => rows.reduce((sum, row) => plus(sum, row));
const mean = (rows) => total(rows).map((x) => x / rows.length);
const zeros = (n) => new Array(n).fill(0);

export function logSumExp(logits) {
  const most = Math.max(...logits);
  return most + Math.log(logits.reduce((sum, x) => sum + Math.exp(x - most), 0));
}

export function softmax(logits) {
  const all = logSumExp(logits);
  return logits.map((x) => Math.exp(x - all));
}

// the pseudo-inverse of a symmetric matrix, by Jacobi's rotations
export function pinv(matrix, least = 1e-6) {
  const n = matrix.length, a = matrix.map((row) => [...row]), v = matrix.map((_, i) => matrix.map((_, j) => Number(i === j)));
  for (let sweep = 0; sweep < 60; sweep++) {
    for (let p = 0; p < n; p++) for (let q = p + 1; q < n; q++) {
      if (a[p][q] === 0) continue;
      const theta = (a[q][q] - a[p][p]) / (2 * a[p][q]), t = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.hypot(theta, 1));
      const c = 1 / Math.hypot(t, 1), s = t * c;
      for (const m of [a, v]) for (const row of m) [row[p], row[q]] = [c * row[p] - s * row[q], s * row[p] + c * row[q]];
      for (let k = 0; k < n; k++) [a[p][k], a[q][k]] = [c * a[p][k] - s * a[q][k], s * a[p][k] + c * a[q][k]];
    }
  }
  const values = a.map((row, i) => row[i]), cutoff = least * Math.max(...values.map(Math.abs));
  const inverse = values.map((x) => Math.abs(x) > cutoff ? 1 / x : 0);
  return v.map((row) => v.map((other) => row.reduce((sum, x, k) => sum + x * other[k] * inverse[k], 0)));
}

// how much nearer to one mean than to another
function normalLogits(z, means, precision) {
  const logits = means.map((row) => { const pull = times(precision, row); return dot(z, pull) - dot(pull, row) / 2; });
  const middle = dot(logits, logits.map(() => 1 / logits.length));
  return logits.map((x) => x - middle);
}

// as it was trained, for one recording alone; `head`: what the file's metadata call `adapt`
export const noShift = ({centres, recipe}) => ({offsets: [zeros(centres[1].length), zeros(centres[1].length)], means: centres[1], share: recipe.line_share, follow: 0});

// parts [2][n_labels] of a recording -> logits
export function forward(head, shift, parts) {
  const [network, line] = parts.map((z, i) => plus(z, shift.offsets[i], -1));
  const near = normalLogits(line, shift.means, head.precision).map((x) => x * head.sharpness);
  const moved = plus(line, plus(near, line, -1), shift.follow);
  return network.map((x, i) => (1 - shift.share) * x + shift.share * moved[i]);
}

// labels, their shares and an offset, in turn -> [log-likelihood with its priors, offset, shares]
function fitMixture(z, means, precision, prior, offset) {
  const n = z.length, size = means.length, gain = product(pinv(prior.map((row, i) => row.map((x, j) => x + n * precision[i][j]))), precision);
  let shares = zeros(size).fill(1 / size), belongs, all;
  for (let turn = 0; turn < TURNS; turn++) {
    const fits = z.map((row) => means.map((m, k) => {
      const apart = plus(plus(row, offset, -1), m, -1);
      return Math.log(shares[k]) - dot(times(precision, apart), apart) / 2;
    }));
    all = fits.map(logSumExp);
    belongs = fits.map((row, i) => row.map((x) => Math.exp(x - all[i])));
    shares = total(belongs).map((x) => (x + 1) / (n + size));
    offset = times(gain, total(plusMatrix(z, product(belongs, means), -1)));
  }
  const score = all.reduce((a, b) => a + b, 0) - dot(offset, times(prior, offset)) / 2 + shares.reduce((sum, x) => sum + Math.log(x), 0);
  return [score, offset, mean(belongs)];
}

// what recordings of a source are, if they may be one-sided -> [offset, shares]
function labelMixture({centres: [, means], precision, between}, z) {
  const n = z.length, prior = pinv(between), shrink = product(pinv(prior.map((row, i) => row.map((x, j) => x + n * precision[i][j]))), precision);
  const begin = [mean(means), ...means].map((m) => times(shrink, total(z.map((row) => plus(row, m, -1)))));
  const found = [zeros(means.length), ...begin].map((offset) => fitMixture(z, means, precision, prior, offset));
  const likely = softmax(found.map(([score]) => score));
  return [1, 2].map((k) => total(found.map((one, i) => one[k].map((x) => x * likely[i]))));
}

function oneSidedness(shares, n) {
  const size = shares.length, top = (n * Math.max(...shares) + 1) / (n + size), [low, high] = ONE_SIDED;
  return Math.min(1, Math.max(0, ((top - 1 / size) / (1 - 1 / size) - low) / (high - low)));
}

// how far mean logits lie off, if the recordings have some of everything
function evenOffsets({centres, recipe: {even, doubt}}, parts, answers) {
  const n = parts.length, expected = total(answers).map((x) => (x + even) / (n + even * answers[0].length));
  return [0, 1].map((i) => plus(mean(parts.map((p) => p[i])), times(transposed(centres[i]), expected), -1).map((x) => x * n / (n + doubt)));
}

// where the line's logits of each label lie at a source
function sourceMeans({centres: [, centres], precision, sharpness, recipe: {own_mean: own}}, parts, share) {
  let means = centres;
  for (let turn = 0; turn < 5; turn++) {
    const belongs = parts.map(([network, line]) => {
      const near = normalLogits(line, means, precision);
      return softmax(network.map((x, i) => (1 - share) * x + share * sharpness * near[i]));
    });
    const weights = total(belongs), sums = product(transposed(belongs), parts.map(([, line]) => line));
    means = sums.map((row, k) => row.map((x, j) => (x + own * centres[k][j]) / (weights[k] + own)));
  }
  return means;
}

// parts of n recordings of one source -> offsets, means, share, follow; recordings, most, label (its position)
export function estimateShift(head, parts) {
  const {recipe: r, centres} = head, n = parts.length, answers = parts.map((one) => softmax(forward(head, noShift(head), one)));
  const [offset, shares] = labelMixture(head, parts.map(([, line]) => line)), sided = oneSidedness(shares, n);
  const network = plus(mean(parts.map(([z]) => z)), times(transposed(centres[0]), shares), -1).map((x) => x * n / (n + r.doubt));
  const offsets = plusMatrix(evenOffsets(head, parts, answers).map((row) => row.map((x) => x * (1 - sided))), [network, offset], sided);
  const share = r.line_share + (r.line_most - r.line_share) * n / (n + r.half_way);
  const means = sourceMeans(head, parts.map((one) => plusMatrix(one, offsets, -1)), share), most = Math.max(...shares);
  return {offsets, means, share, follow: (1 - sided) * n / (n + r.known_well), recordings: n, most: Math.min(1, most), label: shares.indexOf(most)};
}

// what is to be known of a shift
export function shiftSentences(shift, labels, recordings) {
  const found = [];
  if (shift.recordings < FEW) found.push(`${recordings} recording${recordings === 1 ? "" : "s"} tell little of a voice, so it is followed in part only; add five or more, better twenty, of different moods.`);
  if (shift.recordings >= MANY && shift.most >= MOSTLY) found.push(`One-sided: ${Math.round(100 * shift.most)}% of these sound ${labels[shift.label]}. If they are not, add recordings of other moods.`);
  return found;
}
