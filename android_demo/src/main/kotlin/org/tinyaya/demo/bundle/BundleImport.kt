package org.tinyaya.demo.bundle

import java.io.File
import java.io.FileOutputStream
import java.io.IOException
import java.io.InputStream
import java.security.MessageDigest
import java.util.concurrent.CancellationException

/** Where a bundle is copied from: a folder of the system's picker, or of the file system. */
interface BundleSource {
    /** A name for the folder of the bundle. */
    val name: String

    /** Opens the file of that plain name; null if there is none. Throws IOException. */
    fun open(file: String): InputStream?
}

/** Bytes of an import that are done, of all. */
data class ImportProgress(val doneBytes: Long, val totalBytes: Long)

/**
 * A bundle elsewhere in, a verified bundle among the installed ones out.
 *
 * Files are copied into a folder of their own and hashed on the way. What a killed import has
 * copied is hashed again and kept. The folder gets its name when all of it is proven.
 */
class BundleImport(private val installed: File, private val source: BundleSource) {
    private val partial = File(installed, plainName(source.name) + PARTIAL)

    /**
     * Copies what is missing; the bundle that came out. Throws [BundleError], and
     * CancellationException when [isCancelled] says so; another run goes on from there.
     */
    fun run(freeBytes: Long, isCancelled: () -> Boolean, advance: (ImportProgress) -> Unit): Bundle {
        partial.mkdirs()
        val manifest = readManifest()
        checkSpace(manifest, freeBytes)
        val total = manifest.totalBytes
        var done = 0L
        val step = { bytes: Long ->
            if (isCancelled()) throw CancellationException("the import was stopped")
            done += bytes
            advance(ImportProgress(done, total))
        }
        for ((name, entry) in manifest.files) copy(name, entry, step)
        return finish(manifest)
    }

    /** Forgets what was copied. */
    fun discard() {
        partial.deleteRecursively()
    }

    /** The manifest is copied first and names everything else; another one starts anew. */
    private fun readManifest(): Manifest {
        val bytes =
            try {
                source.open(Manifest.NAME)?.use { it.readAtMost(Manifest.MAX_BYTES) }
            } catch (error: IOException) {
                throw MissingFileError("${source.name}/${Manifest.NAME} cannot be read (${error.message})", error)
            } ?: throw MissingFileError(
                "${source.name} has no ${Manifest.NAME}; choose the folder of an exported bundle",
            )
        val manifest = Manifest.parse(bytes, "${source.name}/${Manifest.NAME}")
        val kept = File(partial, Manifest.NAME)
        if (!kept.isFile || !kept.readBytes().contentEquals(bytes)) {
            partial.deleteRecursively()
            partial.mkdirs()
            kept.writeBytes(bytes)
        }
        return manifest
    }

    private fun checkSpace(manifest: Manifest, freeBytes: Long) {
        val kept = manifest.files.keys.sumOf { File(partial, it).length() }
        val needed = manifest.totalBytes - kept + SPARE_BYTES
        if (needed > freeBytes) {
            throw TooLargeError("$needed bytes are needed, $freeBytes are free; delete something", needed, freeBytes)
        }
    }

    private fun copy(name: String, entry: FileEntry, step: (Long) -> Unit) {
        val target = File(partial, name)
        if (target.length() > entry.bytes) target.delete()
        val digest = MessageDigest.getInstance("SHA-256")
        if (target.isFile) target.inputStream().use { it.feed(digest, step) }
        try {
            append(name, target, entry, digest, step)
        } catch (error: IOException) {
            throw MissingFileError("$name cannot be copied (${error.message}); try again", error)
        }
        if (digest.hex() != entry.sha256) {
            target.delete()
            throw ChangedFileError("$name has another SHA-256 than its manifest says; copy the bundle to the device again")
        }
    }

    private fun append(name: String, target: File, entry: FileEntry, digest: MessageDigest, step: (Long) -> Unit) {
        val start = target.length()
        if (start == entry.bytes && target.isFile) return
        val input = source.open(name) ?: throw MissingFileError("$name is missing in ${source.name}")
        input.use {
            input.skipExactly(start, name)
            FileOutputStream(target, true).use { output ->
                val block = ByteArray(BLOCK_BYTES)
                var left = entry.bytes - start
                while (true) {
                    val count = input.read(block)
                    if (count < 0) break
                    left -= count
                    if (left < 0) throw ChangedFileError("$name is longer than the ${entry.bytes} bytes of its manifest")
                    output.write(block, 0, count)
                    digest.update(block, 0, count)
                    step(count.toLong())
                }
                output.fd.sync()
                if (left > 0) throw ChangedFileError("$name ends $left bytes early; copy the bundle to the device again")
            }
        }
    }

    private fun finish(manifest: Manifest): Bundle {
        val name = partial.name.removeSuffix(PARTIAL)
        val target = File(installed, name)
        val old = File(installed, "$name$OLD")
        if (target.exists()) target.renameTo(old)
        if (!partial.renameTo(target)) throw MissingFileError("$partial cannot be renamed to $target")
        old.deleteRecursively()
        return Bundle(target, manifest)
    }

    companion object {
        const val PARTIAL = ".part"
        const val OLD = ".old"
        private const val SPARE_BYTES = 64L * 1024 * 1024
        private val UNFIT = Regex("[^A-Za-z0-9_-]+")

        /** A folder name that any file system takes. */
        fun plainName(name: String): String = UNFIT.replace(name, "-").trim('-').take(60).ifEmpty { "bundle" }
    }
}

private fun InputStream.skipExactly(count: Long, name: String) {
    var left = count
    val block = ByteArray(BLOCK_BYTES)
    while (left > 0) {
        val read = read(block, 0, minOf(left, block.size.toLong()).toInt())
        if (read < 0) throw ChangedFileError("$name is shorter than the part of it that was copied; import it again")
        left -= read
    }
}

private fun InputStream.readAtMost(most: Long): ByteArray {
    val out = java.io.ByteArrayOutputStream()
    val block = ByteArray(BLOCK_BYTES)
    while (out.size() <= most) {
        val count = read(block)
        if (count < 0) return out.toByteArray()
        out.write(block, 0, count)
    }
    throw ManifestError("${Manifest.NAME} has more than $most bytes: no manifest")
}
