import { beforeAll, describe, expect, it } from 'vitest';
import { init, models, nn } from '../../src/index.js';

beforeAll(() => init());

describe('a ResNet', () => {
  it('takes another number of classes, or a new head', () => {
    const model = models.resnet18({ numClasses: 10 });
    expect(model.fc.weight.shape).toEqual([10, 512]);
    model.fc = new nn.Linear(model.fc.inFeatures, 3);
    expect([...model.stateDict()].at(-1)?.[1].shape).toEqual([3]);
  });

  it('starts its blocks as the identity when asked to', async () => {
    const model = models.resnet18({ zeroInitResidual: true });
    expect(await model.getParameter('layer1.0.bn2.weight').abs().sum().item()).toBe(0);
    expect(await model.getParameter('layer1.0.bn1.weight').sum().item()).toBe(64);
  });
});

describe('the CIFAR ResNets', () => {
  it('have the keys of the published checkpoints', () => {
    const names = [...models.cifarResnet20().stateDict().keys()];
    expect(names.length).toBe(19 * 6 + 2);
    expect(names.slice(0, 7)).toEqual([
      'conv1.weight',
      'bn1.weight',
      'bn1.bias',
      'bn1.running_mean',
      'bn1.running_var',
      'bn1.num_batches_tracked',
      'layer1.0.conv1.weight',
    ]);
    expect(names.slice(-2)).toEqual(['linear.weight', 'linear.bias']);
  });

  it('have the number of parameters of the paper', () => {
    const count = (model: nn.Module): number => model.parameters().reduce((sum, p) => sum + p.numel(), 0);
    expect(count(models.cifarResnet20())).toBe(269_722);
    expect(count(models.cifarResnet56())).toBe(853_018);
  });
});

it('the registry lists and finds by name', () => {
  expect(models.list()).toEqual(expect.arrayContaining(['alexnet', 'cifar_resnet8', 'vgg11']));
  expect(models.get('resnet18')({ numClasses: 2 })).toBeInstanceOf(models.ResNet);
  expect(() => models.get('resnet19')).toThrow("there is no 'resnet19'; there is alexnet, ");
});
