/** The families of models: a builder that is exported here is in the registry. */
export * from './resnet.js';
export * from './vgg.js';
export * from './mobilenet-v2.js';
export * from './mobilenet-v3.js';
export * from './alexnet.js';
export * from './squeezenet.js';
export * from './densenet.js';
export * from './googlenet.js';
export * from './inception-v3.js';
export * from './efficientnet.js';
export * from './shufflenet-v2.js';
export * from './mnasnet.js';
export * from './regnet.js';
export * from './convnext.js';
export * from './vit.js';
export * from './cifar-resnet.js';
