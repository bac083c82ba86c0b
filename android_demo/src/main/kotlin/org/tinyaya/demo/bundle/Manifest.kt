package org.tinyaya.demo.bundle

import java.io.File

/** Sizes of the model; [window] is null where no layer has one. */
data class ModelInfo(
    val modelType: String,
    val layers: Int,
    val width: Int,
    val heads: Int,
    val kvHeads: Int,
    val headDim: Int,
    val vocabSize: Int,
    val window: Int?,
    val parameters: Long,
)

/** Positions a session may hold, and tokens a single step may take. */
data class Limits(val context: Int, val chunk: Int)

/** One layer's key-value cache; [dtype] is a name of [CACHE_DTYPES]. */
data class CacheShape(val slots: Int, val kvHeads: Int, val headDim: Int, val dtype: String) {
    /** Bytes of the keys and values of one position. */
    val positionBytes: Long get() = 2L * kvHeads * headDim * CACHE_DTYPES.getValue(dtype)

    companion object {
        /** Bytes of a value. */
        val CACHE_DTYPES = mapOf("float32" to 4, "int8" to 1)
    }
}

/** Ids with a meaning; [unused] are half-open ranges of table rows without a token. */
data class TokenIds(val bos: Int, val pad: Int, val stop: List<Int>, val unused: List<Pair<Int, Int>>)

/** How the authors of the model sample it. */
data class SamplingDefaults(val temperature: Double, val topK: Int, val topP: Double) {
    /** What is wrong with these numbers; null if nothing is. */
    fun problem(): String? =
        when {
            temperature < 0 || !temperature.isFinite() -> "temperature is $temperature; expected 0 (greedy) or more"
            topK < 0 -> "top_k is $topK; expected 0 (off) or more"
            !(topP > 0 && topP <= 1) -> "top_p is $topP; expected more than 0 and at most 1 (off)"
            else -> null
        }
}

/** Ids that prompts begin with, and the file of their keys and values; null: the program's. */
data class Preamble(val ids: List<Int>, val file: String?)

/** What a file must be, byte for byte. */
data class FileEntry(val bytes: Long, val sha256: String)

/** All that a bundle says of itself; recipe and quality are kept as they are. */
data class Manifest(
    val engine: String,
    val program: String,
    val model: ModelInfo,
    val recipe: Map<String, Any?>,
    val limits: Limits,
    val cache: List<CacheShape>,
    val tokens: TokenIds,
    val sampling: SamplingDefaults,
    val preamble: Preamble?,
    val files: Map<String, FileEntry>,
    val versions: Map<String, Any?>,
    val quality: Map<String, Any?>?,
    val languages: List<String>?,
) {
    /** Bytes of all listed files. */
    val totalBytes: Long get() = files.values.sumOf { it.bytes }

    /** Bytes of the key-value caches. */
    val cacheBytes: Long get() = cache.sumOf { it.positionBytes * it.slots }

    companion object {
        const val NAME = "manifest.json"
        const val TOKENIZER = "tokenizer.json"
        const val TOKENIZER_CONFIG = "tokenizer_config.json"
        const val CHAT_TEMPLATE = "chat_template.jinja"
        const val GOLDEN_TOKENS = "golden_tokens.json"
        const val MAX_BYTES = 16L * 1024 * 1024
        private const val FORMAT = "tinyaya-bundle"
        private const val FORMAT_VERSION = 1L

        /** Reads and checks [folder]/manifest.json; no other file is touched. Throws [BundleError]. */
        fun read(folder: File): Manifest {
            val path = File(folder, NAME)
            if (!path.isFile) throw MissingFileError("$path is missing; expected the folder of an exported bundle")
            if (path.length() > MAX_BYTES) throw ManifestError("$path has ${path.length()} bytes: no manifest")
            return parse(readFile(path), path.path)
        }

        /** Reads and checks the bytes of a manifest; [where] names it in errors. */
        fun parse(bytes: ByteArray, where: String): Manifest {
            val raw =
                try {
                    JsonReader(bytes).document()
                } catch (error: JsonError) {
                    throw ManifestError("$where is not JSON: ${error.message}; export the bundle again", error)
                }
            checkFormat(raw, where)
            val manifest = ManifestParser.manifest(raw)
            ManifestChecks.problem(manifest)?.let { throw ManifestError("$where: $it; export the bundle again") }
            return manifest
        }

        private fun checkFormat(raw: Any?, where: String) {
            val found = (raw as? Map<*, *>)?.get("format")
            if (found != FORMAT) throw ManifestError("$where says format $found; expected $FORMAT: not a bundle")
            val version = raw["format_version"]
            if (version != FORMAT_VERSION) {
                throw VersionError(
                    "$where is of format version $version; this app reads $FORMAT_VERSION: " +
                        "export the bundle again, or install a newer app",
                )
            }
        }

        private fun readFile(path: File): ByteArray =
            try {
                path.readBytes()
            } catch (error: java.io.IOException) {
                throw MissingFileError("$path cannot be read (${error.message})", error)
            }
    }
}
