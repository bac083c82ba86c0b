/* The JNI library names a provider that only Android has; nothing here calls it. */
void *OrtSessionOptionsAppendExecutionProvider_Nnapi(void *options, unsigned flags) {
    (void)options;
    (void)flags;
    return 0;
}
