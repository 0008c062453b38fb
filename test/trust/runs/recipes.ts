/**
 * Small trainings that have everything that a run must not lose: optimizers, schedules, averages, random
 * numbers, stages.
 */
import { cpSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { buildCommand, contentOf, kindling, writeImages } from './support.js';

export interface Recipe {
  readonly name: string;
  /** After `kindling finetune`, without `--out`. */
  readonly args: readonly string[];
}

export interface Workshop {
  readonly folder: string;
  readonly recipes: readonly Recipe[];
}

/** Images, weights to start from, and three recipes, in an empty folder. */
export async function workshop(folder: string): Promise<Workshop> {
  buildCommand();
  mkdirSync(folder, { recursive: true });
  const images = writeImages(join(folder, 'images'));
  const common = [images, '--model', 'cifar_resnet8', '--batch-size', '8'];
  // A training of one epoch makes the weights that the others begin with.
  const made = join(folder, 'made');
  const first = await kindling(['finetune', ...common, '--epochs', '1', '--seed', '5', '--out', made]).ended;
  if (first.code !== 0) throw new Error(`the first training failed: ${first.stderr}`);
  const weights = join(folder, 'start.safetensors');
  cpSync(join(made, 'last.safetensors'), weights);
  return {
    folder,
    recipes: [
      {
        name: 'whole model',
        args: [
          ...['finetune', ...common, '--epochs', '2', '--optimizer', 'adamw', '--schedule', 'onecycle'],
          ...['--augment', '--mixup', '0.3', '--ema', '0.9', '--clip-grad-norm', '1'],
        ],
      },
      {
        name: 'head on cached features',
        args: [
          ...['finetune', ...common, '--weights', weights, '--epochs', '8', '--schedule', 'step'],
          ...['--step-size', '3', '--early-stop', '6', '--class-weights', 'balanced'],
        ],
      },
      {
        name: 'stages',
        args: [
          ...['finetune', ...common, '--weights', weights, '--epochs', '3', '--unfreeze-at', '2:layer3'],
          ...['--unfreeze-at', '3:layer2,layer1', '--schedule', 'cosine', '--label-smoothing', '0.1'],
        ],
      },
    ],
  };
}

/** A recipe's training, nobody disturbing it. */
export interface Undisturbed {
  readonly content: Readonly<Record<string, string>>;
  readonly milliseconds: number;
}

export async function undisturbed({ args }: Recipe, out: string): Promise<Undisturbed> {
  const { code, stderr, milliseconds } = await kindling([...args, '--out', out]).ended;
  if (code !== 0) throw new Error(`an undisturbed training failed: ${stderr}`);
  return { content: await contentOf(out), milliseconds };
}
