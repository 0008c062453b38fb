/** Layers on top, in a module of one's own: half pretrained, half new. */
import { nn, optim, type Tensor } from '../../src/index.js';
import {
  accuracy,
  images,
  percent,
  pretrained,
  runIfScript,
  trainEpoch,
  type Options,
  type Pretrained,
} from './common.js';

class Classifier extends nn.Module {
  backbone: Pretrained;
  hidden: nn.Linear;
  drop = new nn.Dropout(0.2);
  out: nn.Linear;

  constructor(backbone: Pretrained, numClasses: number) {
    super();
    const { inFeatures } = backbone.fc;
    this.backbone = backbone;
    this.backbone.fc = new nn.Identity();
    this.backbone.requiresGrad_(false);
    this.hidden = new nn.Linear(inFeatures, 32);
    this.out = new nn.Linear(32, numClasses);
  }

  /** The pretrained half stays in evaluation mode whatever the rest does. */
  override train(mode = true): this {
    super.train(mode);
    this.backbone.eval();
    return this;
  }

  forward(x: Tensor): Tensor {
    return this.out(this.drop(this.hidden(this.backbone(x)).relu()));
  }
}

export async function main(options: Options = {}) {
  const data = images(options);
  const model = new Classifier(await pretrained(options), data.classes.length);
  console.log(String(model).split('\n').slice(-4).join('\n'));

  const optimizer = new optim.AdamW(
    model.parameters().filter((p) => p.requiresGrad),
    { lr: options.lr ?? 5e-3 },
  );
  const losses: number[] = [];
  for (let epoch = 0; epoch < (options.epochs ?? 6); epoch++)
    losses.push(await trainEpoch(model.train(), data, optimizer));
  const after = await accuracy(model, data);
  console.log(`loss ${losses.map((loss) => loss.toFixed(3)).join(' -> ')}, accuracy ${percent(after)}`);
  return { model, losses, after };
}

await runIfScript(import.meta.url, main);
