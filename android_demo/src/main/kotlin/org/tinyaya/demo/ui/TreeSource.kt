package org.tinyaya.demo.ui

import android.content.ContentResolver
import android.net.Uri
import android.provider.DocumentsContract
import org.tinyaya.demo.bundle.BundleSource
import java.io.IOException
import java.io.InputStream

/** A folder of the system's picker as a [BundleSource]. */
class TreeSource(private val resolver: ContentResolver, private val tree: Uri) : BundleSource {
    private val root = DocumentsContract.getTreeDocumentId(tree)
    private val files: Map<String, String> by lazy { children() }

    override val name: String by lazy {
        val document = DocumentsContract.buildDocumentUriUsingTree(tree, root)
        query(document) { it.getString(0) }.firstOrNull() ?: root.substringAfterLast('/')
    }

    override fun open(file: String): InputStream? {
        val id = files[file] ?: return null
        val document = DocumentsContract.buildDocumentUriUsingTree(tree, id)
        return guarded { resolver.openInputStream(document) }
    }

    private fun children(): Map<String, String> =
        query(DocumentsContract.buildChildDocumentsUriUsingTree(tree, root)) { it.getString(0) to it.getString(1) }.toMap()

    private fun <T> query(uri: Uri, row: (android.database.Cursor) -> T): List<T> =
        guarded {
            resolver.query(uri, COLUMNS, null, null, null)?.use { cursor ->
                buildList { while (cursor.moveToNext()) add(row(cursor)) }
            }
        }.orEmpty()

    /** A permission that the user took back, or a card that is gone, ends a read like any other fault. */
    private fun <T> guarded(work: () -> T): T =
        try {
            work()
        } catch (error: RuntimeException) {
            throw IOException(error.message, error)
        }

    private companion object {
        val COLUMNS = arrayOf(DocumentsContract.Document.COLUMN_DISPLAY_NAME, DocumentsContract.Document.COLUMN_DOCUMENT_ID)
    }
}
