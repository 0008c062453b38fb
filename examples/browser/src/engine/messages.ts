/** What the page and the worker say to each other. */

/** Networks whose pretrained trunk can be used; all but the first take a file. */
export const trunks = {
  cifar_resnet8: 'ResNet-8, comes with the page',
  resnet18: 'ResNet-18',
  resnet34: 'ResNet-34',
  resnet50: 'ResNet-50',
  mobilenet_v2: 'MobileNetV2',
} as const;

export type TrunkName = keyof typeof trunks;

/** The pictures of a class, by the numbers under which the worker knows them. */
export interface ClassOfPictures {
  readonly name: string;
  readonly pictures: readonly number[];
}

export interface TrainRequest {
  readonly classes: readonly ClassOfPictures[];
  readonly epochs: number;
  readonly learningRate: number;
  readonly batchSize: number;
}

/** Losses are means over pictures; accuracies lie between 0 and 1. */
export interface Epoch {
  readonly kind: 'epoch';
  /** Counted from 1, on from what the head was trained before. */
  readonly epoch: number;
  readonly loss: number;
  readonly accuracy: number;
  /** Null without held-out pictures. */
  readonly heldOutLoss: number | null;
  readonly heldOutAccuracy: number | null;
  /** Milliseconds of a step: forward, backward, optimizer. */
  readonly stepTime: number;
  /** Bytes of GPU memory in use. */
  readonly memory: number;
}

export type TrainEvent =
  | { readonly kind: 'looking'; readonly done: number; readonly of: number }
  | Epoch
  | { readonly kind: 'lost' }
  | { readonly kind: 'restored'; readonly epoch: number };

export interface TrainResult {
  readonly stopped: boolean;
  readonly classes: readonly string[];
  /** Pictures by true class (row) and by the class that was found (column). */
  readonly confusion: readonly (readonly number[])[];
  /** Whether those pictures were held out of training: a quarter of each class that has four or more. */
  readonly heldOut: boolean;
}

export interface Confidence {
  readonly name: string;
  /** Between 0 and 1; those of all classes have the sum 1. */
  readonly share: number;
}

/** A finished model's file as it was read back. */
export interface LoadedModel {
  readonly trunk: TrunkName;
  readonly classes: readonly string[];
}
