/** What a hyper-parameter may be. Here, so that the types of the package name none of protobufjs. */
export type HparamValue = number | string | boolean;
