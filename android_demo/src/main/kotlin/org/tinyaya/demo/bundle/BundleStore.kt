package org.tinyaya.demo.bundle

import java.io.File
import java.io.IOException

/** An installed bundle, and whether all its hashes were compared on this device. */
data class InstalledBundle(val bundle: Bundle, val isVerified: Boolean, val isPushed: Boolean)

/** A folder that is meant as a bundle and is none, with the reason. */
data class BrokenBundle(val folder: File, val error: BundleError)

/** What lies in the folders of the app. */
data class Inventory(val bundles: List<InstalledBundle>, val broken: List<BrokenBundle>)

/**
 * Folders in, the bundles in them out.
 *
 * [imported]: the app's own; verified while they were copied. [pushed]: where `adb push` puts them;
 * verified once, and again when a file's size or time changes. [marks]: remembers that.
 */
class BundleStore(private val imported: File, private val pushed: File?, private val marks: File) {
    /** Reads manifests and compares sizes; no hashes. */
    fun list(): Inventory {
        val bundles = mutableListOf<InstalledBundle>()
        val broken = mutableListOf<BrokenBundle>()
        for (root in listOfNotNull(imported, pushed)) {
            val folders = root.listFiles { file -> file.isDirectory && '.' !in file.name }?.sorted().orEmpty()
            for (folder in folders) {
                try {
                    val bundle = Bundle.open(folder, checkHashes = false)
                    val isPushed = root == pushed
                    bundles += InstalledBundle(bundle, !isPushed || mark(bundle).isFile, isPushed)
                } catch (error: BundleError) {
                    broken += BrokenBundle(folder, error)
                }
            }
        }
        return Inventory(bundles, broken)
    }

    /** Compares all hashes of a pushed bundle, and remembers that they fit. Throws [BundleError]. */
    fun verify(bundle: Bundle, advance: (Long) -> Unit) {
        Bundle.open(bundle.folder, checkHashes = true, advance)
        marks.mkdirs()
        try {
            mark(bundle).writeText(bundle.folder.path)
        } catch (error: IOException) {
            throw MissingFileError("$marks cannot be written (${error.message})", error)
        }
    }

    /** Deletes the folder of a bundle. */
    fun delete(folder: File) {
        folder.deleteRecursively()
    }

    /** Deletes what a replaced bundle left behind. */
    fun tidy() {
        imported.listFiles { file -> file.name.endsWith(BundleImport.OLD) }?.forEach { it.deleteRecursively() }
    }

    private fun mark(bundle: Bundle): File {
        val state =
            (bundle.manifest.files.keys + Manifest.NAME).joinToString { name ->
                bundle.file(name).let { "$name ${it.length()} ${it.lastModified()}" }
            }
        val digest = java.security.MessageDigest.getInstance("SHA-256")
        digest.update((bundle.folder.path + state).toByteArray())
        return File(marks, digest.hex())
    }
}
