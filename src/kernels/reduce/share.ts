/**
 * How the steps of a reduction are shared among threads, by adapter. A GPU hides the latency of its memory
 * with some hundred thousand threads, whose neighbours should read neighbours; a software adapter wants few
 * cells and long walks.
 */
import type { Target } from '../base/kernel.js';
import { teamsGroup, type Sharing } from './kernel.js';

/** What there is to share. */
export interface Steps {
  readonly items: number;
  /** Of each item. */
  readonly steps: number;
}

export interface Share {
  readonly sharing: Sharing;
  /** Threads of a cell, a power of two. */
  readonly team: number;
  /** Cells of an item, at most. */
  readonly chunks: number;
}

const wantedThreads = 131072;
/** A team that owns a chunk takes at least so many steps each. */
const leastSteps = 4;
/** Neighbouring cells whose loads make one access of memory. */
const besides = 16;
/** Chunks are joined by one more launch; more would make that long. */
const maxChunks = 1024;

const powerOver = (n: number): number => 2 ** Math.ceil(Math.log2(Math.max(1, n)));

/** `along`: the steps of an item are neighbours in memory; else those of neighbouring items are. */
export function shareSteps(target: Target, { items, steps, along }: Steps & { along: boolean }): Share {
  if (target.kind === 'software') {
    const chunks = Math.min(maxChunks, Math.ceil(256 / items), Math.ceil(steps / 64));
    return { sharing: 'alone', team: 1, chunks: Math.max(1, chunks) };
  }
  const { sharing, team } =
    target.maxInvocations < teamsGroup ? alone : along ? teamAlong(steps) : teamAcross(items, steps);
  const least = sharing === 'alone' ? 64 : leastSteps * team;
  const wanted = Math.ceil(wantedThreads / (items * team));
  return { sharing, team, chunks: Math.max(1, Math.min(maxChunks, wanted, Math.ceil(steps / least))) };
}

const alone = { sharing: 'alone', team: 1 } as const;

/** Some four steps for each member, and no fewer members than make loads of whole lines. */
function teamAlong(steps: number): Pick<Share, 'sharing' | 'team'> {
  if (steps < leastSteps) return alone;
  const team = Math.max(powerOver(steps / leastSteps), Math.min(32, powerOver(steps)));
  return { sharing: 'along', team: Math.min(teamsGroup, team) };
}

function teamAcross(items: number, steps: number): Pick<Share, 'sharing' | 'team'> {
  // Enough threads by themselves, and none walks far.
  if (steps < 8 || (items >= wantedThreads && steps <= 64)) return alone;
  const cells = Math.min(besides, powerOver(items));
  return { sharing: 'across', team: Math.min(teamsGroup / cells, powerOver(steps)) };
}

/** Of partial results, which lie item beside item. */
export function joinShare(target: Target, { items, steps }: Steps): Share {
  if (target.kind === 'software') return { ...alone, chunks: 1 };
  return { ...(target.maxInvocations < teamsGroup ? alone : teamAcross(items, steps)), chunks: 1 };
}
