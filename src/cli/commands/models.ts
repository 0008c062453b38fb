import { get, list, weights as publishedWeights } from '../../models/index.js';
import { defineCommand } from '../command.js';
import type { Context } from '../context.js';
import { CliError } from '../errors.js';
import { meant } from '../near-names.js';
import { table } from '../output.js';
import { json, model, modelOperand } from '../shared-options.js';

/** `kindling models [MODEL]`: all models by name, or those whose name has a word in it. */
async function listModels({ output }: Context, word = ''): Promise<void> {
  const names = list().filter((name) => name.includes(word.toLowerCase()));
  if (names.length === 0)
    throw new CliError(`${word}: there is no such model; ${meant(word, list())} kindling models lists all`);
  const published = await publishedWeights();
  const found = names.map((name) => {
    const { channels, crop } = get(name).input;
    const own = published.filter((entry) => entry.model === name);
    return { name, input: [channels, crop, crop], weights: own.map((entry) => entry.name) };
  });
  output.document(found);
  if (output.json) return;
  const rows = found.map(({ name, input, weights }) => [name, input.join('x'), weights.join(' ') || '-']);
  for (const line of table([['model', 'input', 'published weights'], ...rows])) output.line(line);
}

export const modelsCommand = defineCommand({
  name: 'models',
  help: 'list the models, all or those with a word in their name',
  operands: [{ ...modelOperand, help: 'a name, or a part of one, as --model' }],
  options: { model, json },
  examples: [['kindling models'], ['kindling models resnet', 'those with resnet in their name']],
  run: ({ context, options }) => listModels(context, options.model),
});
