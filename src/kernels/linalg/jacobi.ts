/**
 * Jacobi's methods for larger matrices, in rounds: in each, every row is in one pair, and all pairs turn at
 * once (R. Brent, F. Luk, "The solution of singular-value and symmetric eigenvalue problems on
 * multiprocessor arrays", 1985). A launch is a part of one round, so none takes long. Sweeps in which nothing
 * turned end the rest: later launches return at once.
 */
import type { Target } from '../base/kernel.js';
import type { Launch } from '../base/plan.js';
import { reads, writes } from '../base/shader.js';
import { cellLaunch, teamLaunch } from './team.js';

/** More than matrices of some thousand rows were seen to need. */
const sweeps = 16;

/** Bytes of the workspace `moved`. */
export const movedBytes = 4 * (sweeps + 1);
/** Bytes of the workspace `turns`. */
export const turnsBytes = (count: number, n: number): number => 8 * count * Math.ceil(n / 2);

const constants = 'const tolerance = 5.9604645e-8;';

/**
 * WGSL: the rows `first` and `second` (which may be past the end) of pair `k` in this round; p.players is
 * even.
 */
const pairFunction = `fn pairAt(k: u32, round: u32, players: u32) -> vec2<u32> {
  let ring = players - 1u;
  let a = select((round + k) % ring, ring, k == 0u);
  let b = (round + ring - k) % ring;
  return vec2<u32>(min(a, b), max(a, b));
}
// Cosine and sine of the smaller turn that makes \`off\` between \`x\` and \`y\` zero.
fn turnOf(x: f32, off: f32, y: f32) -> vec2<f32> {
  let theta = (y - x) / (2.0 * off);
  let t = select(1.0, -1.0, theta < 0.0) / (abs(theta) + sqrt(fma(theta, theta, 1.0)));
  let c = 1.0 / sqrt(fma(t, t, 1.0));
  return vec2<f32>(c, t * c);
}`;

const start = (target: Target): Launch =>
  cellLaunch(
    target,
    {
      name: 'jacobiStart',
      bindings: [writes('moved', 'u32')],
      params: [],
      body: 'moved[cell] = select(0u, 1u, cell == 0u);',
    },
    sweeps + 1,
    [],
  );

const params = ['n', 'players', 'round', 'sweep'];
const none: readonly number[] = [];

/** The launches of one round, for all rounds of all sweeps. */
function inRounds(target: Target, n: number, ofOne: readonly Launch[]): Launch[] {
  const launches = [start(target)];
  const players = n + (n % 2);
  for (let sweep = 0; sweep < sweeps; sweep++) {
    for (let round = 0; round < players - 1; round++) {
      for (const one of ofOne)
        launches.push({ ...one, params: [one.params[0] as number, n, players, round, sweep] });
    }
  }
  return launches;
}

/**
 * Eigenvalues, on the diagonal of `a` (symmetric, both triangles), and vectors, in the rows of `v` (identity
 * before), in no order. Workspaces `moved`, `turns`.
 */
export function jacobiEighLaunches(target: Target, count: number, n: number): Launch[] {
  const half = Math.ceil(n / 2);
  const angles = cellLaunch(
    target,
    {
      name: 'jacobiAngles',
      bindings: [reads('a', 'f32'), writes('turns', 'vec2<f32>'), writes('moved', 'u32')],
      params,
      functions: `${constants}\n${pairFunction}`,
      body: `if (moved[p.sweep] == 0u) { return; }
let half = p.players / 2u;
let pair = pairAt(cell % half, p.round, p.players);
var turn = vec2<f32>(1.0, 0.0);
if (pair.y < p.n) {
  let base = cell / half * p.n * p.n;
  let off = a[base + pair.x * p.n + pair.y];
  let x = a[base + pair.x * p.n + pair.x];
  let y = a[base + pair.y * p.n + pair.y];
  if (abs(off) > tolerance * sqrt(abs(x)) * sqrt(abs(y))) {
    turn = turnOf(x, off, y);
    moved[p.sweep + 1u] = 1u;
  }
}
turns[cell] = turn;`,
    },
    count * half,
    none,
  );
  const turn = cellLaunch(
    target,
    {
      name: 'jacobiTurn',
      bindings: [writes('a', 'f32'), writes('v', 'f32'), reads('turns', 'vec2<f32>'), reads('moved', 'u32')],
      params,
      functions: pairFunction,
      // Cells of a matrix: a block of two by two for each two pairs, then for each pair a column of v.
      body: `if (moved[p.sweep] == 0u) { return; }
let half = p.players / 2u;
let cells = half * (half + p.n);
let matrix = cell / cells;
let base = matrix * p.n * p.n;
let i = cell % cells / (half + p.n);
let j = cell % (half + p.n);
let rows = pairAt(i, p.round, p.players);
let one = turns[matrix * half + i];
if (j >= half) {
  if (one.y == 0.0) { return; }
  let x = base + rows.x * p.n + j - half;
  let y = base + rows.y * p.n + j - half;
  let t = v[x];
  v[x] = one.x * t - one.y * v[y];
  v[y] = one.y * t + one.x * v[y];
  return;
}
let two = turns[matrix * half + j];
if (one.y == 0.0 && two.y == 0.0) { return; }
let columns = pairAt(j, p.round, p.players);
let below = rows.y < p.n;
let beside = columns.y < p.n;
let at = base + rows.x * p.n;
let under = base + rows.y * p.n;
let b00 = a[at + columns.x];
var b01 = 0.0;
var b10 = 0.0;
var b11 = 0.0;
if (beside) { b01 = a[at + columns.y]; }
if (below) { b10 = a[under + columns.x]; }
if (below && beside) { b11 = a[under + columns.y]; }
let upper = vec2<f32>(one.x * b00 - one.y * b10, one.x * b01 - one.y * b11);
let lower = vec2<f32>(one.y * b00 + one.x * b10, one.y * b01 + one.x * b11);
let own = i == j;
a[at + columns.x] = two.x * upper.x - two.y * upper.y;
if (beside) { a[at + columns.y] = select(two.y * upper.x + two.x * upper.y, 0.0, own); }
if (below) { a[under + columns.x] = select(two.x * lower.x - two.y * lower.y, 0.0, own); }
if (below && beside) { a[under + columns.y] = two.y * lower.x + two.x * lower.y; }`,
    },
    count * half * (half + n),
    none,
  );
  return inRounds(target, n, [angles, turn]);
}

/**
 * Makes the rows of `w` (n of length n) orthogonal to each other by turning them in pairs, and the rows of
 * `v` with them. Workspace `moved`.
 */
export function jacobiRowsLaunches(target: Target, count: number, n: number): Launch[] {
  const half = Math.ceil(n / 2);
  const turn = teamLaunch(
    target,
    {
      name: 'jacobiRows',
      bindings: [writes('w', 'f32'), writes('v', 'f32'), writes('moved', 'u32')],
      params,
      functions: `${constants}\n${pairFunction}`,
      body: () => `let half = p.players / 2u;
let pair = pairAt(matrix % half, p.round, p.players);
let base = matrix / half * p.n * p.n;
let x = base + pair.x * p.n;
let y = base + pair.y * p.n;
var xx = 0.0;
var xy = 0.0;
var yy = 0.0;
let alive = moved[p.sweep] != 0u && pair.y < p.n;
if (alive) {
  for (var i = lane; i < p.n; i += lanes) {
    let s = w[x + i];
    let t = w[y + i];
    xx = fma(s, s, xx);
    xy = fma(s, t, xy);
    yy = fma(t, t, yy);
  }
}
xx = teamSum(xx, lane);
xy = teamSum(xy, lane);
yy = teamSum(yy, lane);
if (!alive || !(abs(xy) > 2.0 * tolerance * sqrt(xx) * sqrt(yy))) { return; }
let turn = turnOf(xx, xy, yy);
for (var i = lane; i < p.n; i += lanes) {
  let s = w[x + i];
  w[x + i] = turn.x * s - turn.y * w[y + i];
  w[y + i] = turn.y * s + turn.x * w[y + i];
  let t = v[x + i];
  v[x + i] = turn.x * t - turn.y * v[y + i];
  v[y + i] = turn.y * t + turn.x * v[y + i];
}
if (lane == 0u) { moved[p.sweep + 1u] = 1u; }`,
    },
    count * half,
    target.kind === 'software' ? 0 : n * n,
    none,
  );
  return inRounds(target, n, [turn]);
}
