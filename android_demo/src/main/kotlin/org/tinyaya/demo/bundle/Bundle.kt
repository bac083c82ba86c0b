package org.tinyaya.demo.bundle

import java.io.File
import java.io.IOException
import java.io.InputStream
import java.security.MessageDigest

/** An opened bundle: every file is the one that was exported. */
data class Bundle(val folder: File, val manifest: Manifest) {
    val name: String get() = folder.name

    /** The file of that name, which the manifest must list. */
    fun file(name: String): File = File(folder, name)

    /** The chat template's source; null where the model is not tuned for chat. */
    fun chatTemplate(): String? =
        if (Manifest.CHAT_TEMPLATE in manifest.files) file(Manifest.CHAT_TEMPLATE).readText() else null

    /** tokenizer_config.json as a tree. Throws [BundleError]. */
    fun tokenizerConfig(): Map<*, *> = jsonObject(Manifest.TOKENIZER_CONFIG)

    /** Case -> text and its ids, as the exporter's tokenizer gave them. Throws [BundleError]. */
    fun goldenTokens(): List<GoldenCase> {
        if (Manifest.GOLDEN_TOKENS !in manifest.files) return emptyList()
        return jsonObject(Manifest.GOLDEN_TOKENS).map { (name, raw) ->
            val case = raw as? Map<*, *>
            val ids = (case?.get("ids") as? List<*>)?.map { (it as? Long)?.toInt() ?: throw goldenError(name) }
            GoldenCase(name.toString(), case?.get("text") as? String ?: throw goldenError(name), ids ?: throw goldenError(name))
        }
    }

    private fun goldenError(name: Any?) =
        BundleError("${Manifest.GOLDEN_TOKENS}: case '$name' has no text and ids; export the bundle again")

    private fun jsonObject(name: String): Map<*, *> =
        try {
            JsonReader(file(name).readBytes()).document() as? Map<*, *>
                ?: throw BundleError("${file(name)} is no JSON object; export the bundle again")
        } catch (error: JsonError) {
            throw BundleError("${file(name)} is not JSON: ${error.message}; export the bundle again", error)
        } catch (error: IOException) {
            throw MissingFileError("${file(name)} cannot be read (${error.message})", error)
        }

    companion object {
        /**
         * Opens the bundle in [folder]; nothing is loaded yet. Throws [BundleError].
         *
         * [checkHashes]: read every file once and compare its SHA-256; sizes are always compared.
         * [advance]: called with the bytes hashed since the last call.
         */
        fun open(folder: File, checkHashes: Boolean, advance: (Long) -> Unit = {}): Bundle {
            locate(folder, Manifest.NAME)
            val manifest = Manifest.read(folder)
            for ((name, entry) in manifest.files) {
                val file = locate(folder, name)
                if (file.length() != entry.bytes) {
                    throw ChangedFileError(
                        "$file has ${file.length()} bytes, its manifest says ${entry.bytes}; copy the bundle again",
                    )
                }
                if (checkHashes && sha256(file, advance) != entry.sha256) {
                    throw ChangedFileError("$file has another SHA-256 than its manifest says; copy the bundle again")
                }
            }
            return Bundle(folder, manifest)
        }

        private fun locate(folder: File, name: String): File {
            val path = File(folder, name)
            if (!path.isFile) throw MissingFileError("$path is missing or not a file; expected a complete bundle")
            if (path.canonicalFile.parentFile != folder.canonicalFile) {
                throw MissingFileError("$path is a link to ${path.canonicalPath}, outside the bundle; copy the file itself")
            }
            return path
        }

        private fun sha256(file: File, advance: (Long) -> Unit): String {
            val digest = MessageDigest.getInstance("SHA-256")
            file.inputStream().use { it.feed(digest, advance) }
            return digest.hex()
        }
    }
}

/** A text and the ids that it must have, without special tokens. */
data class GoldenCase(val name: String, val text: String, val ids: List<Int>)

internal const val BLOCK_BYTES = 1 shl 20

internal fun InputStream.feed(digest: MessageDigest, advance: (Long) -> Unit) {
    val block = ByteArray(BLOCK_BYTES)
    while (true) {
        val count = read(block)
        if (count < 0) return
        digest.update(block, 0, count)
        advance(count.toLong())
    }
}

internal fun MessageDigest.hex(): String = digest().joinToString("") { "%02x".format(java.util.Locale.ROOT, it) }
