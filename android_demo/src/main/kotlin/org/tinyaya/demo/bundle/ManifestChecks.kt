package org.tinyaya.demo.bundle

import kotlin.math.min

/** A [Manifest] in, what has the right type and yet cannot be, out. */
internal object ManifestChecks {
    private val SHA256 = Regex("[0-9a-f]{64}")
    private val NOT_IN_A_NAME = Regex("[/\\\\:*?\"<>|\\x00-\\x1f]")

    /** The first problem, or null. */
    fun problem(manifest: Manifest): String? =
        files(manifest) ?: caches(manifest) ?: tokens(manifest.tokens, manifest.model.vocabSize)
            ?: manifest.preamble?.let { preamble(manifest, it) } ?: limits(manifest.limits)
            ?: manifest.sampling.problem()

    private fun files(manifest: Manifest): String? {
        for ((name, entry) in manifest.files) {
            if (!isPlain(name)) return "files names '$name'; expected plain names of files inside the folder"
            if (entry.bytes < 0 || !SHA256.matches(entry.sha256)) {
                return "files['$name'] has no size or SHA-256 in 64 lower-case hex digits"
            }
        }
        return listOf(manifest.program, Manifest.TOKENIZER, Manifest.TOKENIZER_CONFIG)
            .firstOrNull { it !in manifest.files }
            ?.let { "files does not list '$it', which a bundle must have" }
    }

    private fun isPlain(name: String) =
        name != "" && name != Manifest.NAME && !NOT_IN_A_NAME.containsMatchIn(name) && name.trim(' ', '.') == name

    private fun caches(manifest: Manifest): String? {
        val model = manifest.model
        val least = min(manifest.limits.context, model.window ?: manifest.limits.context)
        if (manifest.cache.size != model.layers) {
            return "cache has ${manifest.cache.size} layers, model.layers is ${model.layers}"
        }
        for (shape in manifest.cache) {
            if (shape.slots < least || min(least, min(shape.kvHeads, shape.headDim)) < 1) {
                return "cache holds $shape; expected positive sizes and at least $least slots"
            }
            if (shape.dtype !in CacheShape.CACHE_DTYPES) return "cache holds '${shape.dtype}'; known: float32, int8"
        }
        return null
    }

    private fun tokens(tokens: TokenIds, vocabSize: Int): String? {
        val range = 0 until vocabSize
        (listOf(tokens.bos, tokens.pad) + tokens.stop).firstOrNull { it !in range }
            ?.let { return "tokens holds id $it; expected 0 to ${vocabSize - 1}" }
        return tokens.unused.firstOrNull { (low, high) -> low < 0 || low > high }
            ?.let { (low, high) -> "tokens.unused holds [$low, $high]; expected 0 <= first <= end" }
    }

    private fun preamble(manifest: Manifest, preamble: Preamble): String? {
        val context = manifest.limits.context
        val most = min(context - 1, manifest.model.window ?: context)
        if (preamble.ids.size !in 1..most) return "preamble holds ${preamble.ids.size} ids; expected 1 to $most"
        preamble.ids.firstOrNull { it !in 0 until manifest.model.vocabSize }
            ?.let { return "preamble holds id $it; expected 0 to ${manifest.model.vocabSize - 1}" }
        return preamble.file?.takeIf { it !in manifest.files }
            ?.let { "files does not list '$it', which holds the preamble" }
    }

    private fun limits(limits: Limits): String? =
        if (limits.chunk in 1..limits.context) {
            null
        } else {
            "chunk ${limits.chunk} and context ${limits.context}; expected 1 <= chunk <= context"
        }
}
