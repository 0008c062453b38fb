import { noMore } from '../tensor/options.js';
import type { ByteImageOptions } from './byte-images.js';
import { CIFARRecords, type DataFile } from './cifar-records.js';
import type { HostArray } from './host.js';
import { exportedClass, type ModuleExport } from './portable.js';

/** CIFAR-100's fine classes, indexed by label. */
export const cifar100Classes: readonly string[] =
  'apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm'.split(
    ' ',
  );

/** CIFAR-100's coarse classes, five fine ones in each, indexed by coarse label. */
export const cifar100CoarseClasses: readonly string[] =
  'aquatic_mammals fish flowers food_containers fruit_and_vegetables household_electrical_devices household_furniture insects large_carnivores large_man-made_outdoor_things large_natural_outdoor_scenes large_omnivores_and_herbivores medium_mammals non-insect_invertebrates people reptiles small_mammals trees vehicles_1 vehicles_2'.split(
    ' ',
  );

/** The training set's per-channel mean and standard deviation in 0 ... 1. */
export const cifar100Statistics = {
  mean: [0.5071, 0.4865, 0.4409],
  std: [0.2673, 0.2564, 0.2762],
} as const;

export interface CIFAR100Options<Sample> extends ByteImageOptions<Sample> {
  /** Which of the two labels a sample has. Default `fine`. */
  readonly labels?: 'fine' | 'coarse';
}

/**
 * CIFAR-100 in the official binary format (https://www.cs.toronto.edu/~kriz/cifar.html, "binary version"):
 * records of a coarse and a fine label byte and 3,072 bytes of pixels. Samples are `[float32 [3, 32, 32],
 * label]`. In Node, `loadCIFAR100` reads the files.
 */
export class CIFAR100<Sample = HostArray<Float32Array>> extends CIFARRecords<Sample> {
  readonly classes: readonly string[];

  constructor(
    files: readonly DataFile[],
    private readonly options: CIFAR100Options<Sample> = {},
  ) {
    noMore(new.target.name, arguments, 2);
    const { labels = 'fine', ...rest } = options;
    const archive = 'cifar-100-binary.tar.gz';
    super({ what: 'CIFAR100', archive, labels: [20, 100], label: labels === 'fine' ? 1 : 0 }, files, rest);
    this.classes = labels === 'fine' ? cifar100Classes : cifar100CoarseClasses;
  }

  override source(): ModuleExport | undefined {
    return exportedClass(this, CIFAR100, import.meta.url, 'CIFAR100');
  }

  override settings(): readonly unknown[] {
    return [[{ name: 'CIFAR-100', bytes: this.records }], this.options];
  }
}
