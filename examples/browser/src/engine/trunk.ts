import { noGrad, tidy } from 'kindling/core';
import { imagesToTensor, shapesStatistics } from 'kindling/data';
import {
  cifarResnet8,
  findHead,
  mobilenetV2,
  type ModelBuilder,
  resnet18,
  resnet34,
  resnet50,
  type InputRecipe,
} from 'kindling/models';
import { Identity, type TensorModule } from 'kindling/nn';
import { type TrunkName, trunks } from './messages.js';
import small from '../../node_modules/kindling/weights/shapes-cifar_resnet8.safetensors?url';

const builders: Readonly<Record<TrunkName, ModelBuilder>> = {
  cifar_resnet8: cifarResnet8,
  resnet18,
  resnet34,
  resnet50,
  mobilenet_v2: mobilenetV2,
};

export type Input = Pick<InputRecipe, 'resize' | 'crop' | 'mean' | 'std'>;

/** A pretrained classifier without its head: pictures go in, features come out. Nothing in it is trained. */
export class Trunk {
  private constructor(
    readonly name: TrunkName,
    readonly model: TensorModule,
    readonly input: Input,
    private readonly headPath: string,
    /** Features of a picture. */
    readonly features: number,
  ) {
    const dot = headPath.lastIndexOf('.');
    const parent = dot < 0 ? model : model.getSubmodule(headPath.slice(0, dot));
    Reflect.set(parent, headPath.slice(dot + 1), new Identity());
    model.eval();
    model.requiresGrad_(false);
  }

  /** The network that comes with the page. */
  static async small(): Promise<Trunk> {
    return Trunk.load('cifar_resnet8', new URL(small, self.location.href).href, shapesStatistics);
  }

  /**
   * @throws Error when the file is another model's, or has more than another head
   */
  static async fromFile(name: TrunkName, file: Blob): Promise<Trunk> {
    return Trunk.load(name, file, name === 'cifar_resnet8' ? shapesStatistics : {});
  }

  private static async load(name: TrunkName, weights: string | Blob, input: Partial<Input>): Promise<Trunk> {
    const build = builders[name];
    let unfit: readonly string[] = [];
    const model = await build({
      weights,
      // Whatever classes the file's own head tells apart, it goes.
      strict: false,
      onLoad: ({ missingKeys, misshapenKeys }) => (unfit = [...missingKeys, ...misshapenKeys]),
    });
    const head = findHead(model);
    const lost = unfit.filter((key) => !key.startsWith(`${head.path}.`));
    if (lost.length > 0)
      throw new Error(
        `The file does not hold all of a ${trunks[name]}: ${lost.slice(0, 3).join(', ')}` +
          `${lost.length > 3 ? ` and ${lost.length - 3} more` : ''} are missing or of another shape.`,
      );
    return new Trunk(name, model, { ...build.input, ...input }, head.path, head.inFeatures);
  }

  /** The name of a parameter of the head in files. */
  headKey(name: string): string {
    return `${this.headPath}.${name}`;
  }

  dispose(): void {
    for (const tensor of [...this.model.parameters(), ...this.model.buffers()]) tensor.dispose();
  }

  /** The features of some pictures: [n, features], read back to the host. */
  async look(pictures: readonly ImageBitmap[]): Promise<Float32Array[]> {
    const { crop, mean, std } = this.input;
    const bytes = new Uint8Array(pictures.length * crop * crop * 3);
    pictures.forEach((picture, i) => bytes.set(this.pixels(picture), i * crop * crop * 3));
    const images = { data: bytes, shape: [pictures.length, crop, crop, 3] };
    using features = noGrad(() => tidy(() => this.model(imagesToTensor(images, { mean, std }))));
    const values = (await features.data()) as Float32Array;
    return pictures.map((_, i) => values.slice(i * this.features, (i + 1) * this.features));
  }

  /** Red, green and blue of a square picture as the network wants it: resized, then cut out of the middle. */
  private pixels(picture: ImageBitmap): Uint8Array {
    const { resize, crop } = this.input;
    const context = new OffscreenCanvas(crop, crop).getContext('2d', { willReadFrequently: true });
    if (context === null) throw new Error('This browser gives a worker no canvas to draw on.');
    context.fillStyle = 'white';
    context.fillRect(0, 0, crop, crop);
    context.imageSmoothingQuality = 'high';
    const edge = (crop - resize) / 2;
    context.drawImage(picture, edge, edge, resize, resize);
    const rgba = context.getImageData(0, 0, crop, crop).data;
    const rgb = new Uint8Array(crop * crop * 3);
    for (let i = 0, j = 0; j < rgb.length; i += 4, j += 3) rgb.set(rgba.subarray(i, i + 3), j);
    return rgb;
  }
}
